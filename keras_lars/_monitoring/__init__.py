"""What is recorded of a training: files of norms and ratios, and what stands out in them."""
