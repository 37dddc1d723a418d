"""How far the batch can go: accuracy by batch size at a fixed number of epochs, equally tuned."""
