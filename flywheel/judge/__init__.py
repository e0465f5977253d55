"""The judge: scores on the frozen test set, their uncertainty, the verdict and the feedback."""
