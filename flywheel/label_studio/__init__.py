"""Label Studio: its brush masks, and a server that answers its interactive clicks with the click model."""
