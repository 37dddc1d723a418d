"""What is recorded of a training, and what stands out in it.

- `record`: rows of what is recorded, whose files are written, continued and read.
- `variables`: `variables.json`, the settings and how each variable is treated.
- `history`: both of them as arrays.
- `anomalies`: what stands out in these, and how it is told.
- `noise`: the gradient noise of a training, smoothed, and how it is told.
- `tensorboard`: the rows for TensorBoard.
- `files`: files that are whole or not there.
"""
