"""Which images to ask for, who answers, and where the answers go."""
