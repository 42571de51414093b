"""hedgeseg."""
