"""Records of training runs, and what stands out in them.

- `record`: the rows of a record, and its files, which are written, continued and read.
- `recorder`: writes the files of a record, and goes on if one cannot be written.
- `variables`: `variables.json`, the settings and how each variable is treated.
- `history`: both of them as arrays.
- `anomalies`: what stands out in these arrays, and the words for it.
- `noise`: the gradient noise of a training run, smoothed, and the words for it.
- `tensorboard`: the rows for TensorBoard.
- `files`: writes files completely or not at all.
"""
