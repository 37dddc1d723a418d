"""Plots and a report page of what the monitors of `keras_lars.callbacks` recorded."""

import os
import pathlib

__all__ = ["draw"]


def draw(run: str | os.PathLike[str], output: str | os.PathLike[str] | None = None) -> pathlib.Path:
    """Draws what the monitors recorded, and writes a report page.

    Use it during or after training. The report shows what LARS does to each layer, if
    `TrustRatioMonitor` recorded it, and how much the batch size can grow, if `NoiseScaleMonitor`
    did. The command `python -m keras_lars.report RUN --output=FOLDER` does the same and prints the
    path of the page. It needs matplotlib (`pip install "keras-lars[report]"`), but no Keras
    backend.

    ```python
    local_learning_rate = learning_rate * trust_ratio  # what is drawn, by variable and update
    ```

    The folder gets these files, which replace those of an earlier report:

    - `index.html`: the findings in words, and interactive charts that show values and let you
      choose variables. One page that needs no other file and no network.
    - `local_learning_rate.png`: the local learning rates of the adapted variables by update.
    - `trust_ratios.png`: the trust ratios, with a row for each adapted variable and a column for
      each update.
    - `norms.png`: the norms of all weights and gradients by update.
    - `noise_scale.png`: the gradient noise scale by update.

    Variables are in the order of the model. Without `variables.json` they are in the order in which
    they were first recorded, and all count as adapted. If a run was continued with a network whose
    variables have other names, such as `dense_2/kernel` for `dense/kernel`, the last are used.
    If a variable has several rows for one update, the last one counts. A last line without a line
    break, which an interrupted run leaves behind, is ignored.

    Args:
        run: String or path of the folder that the monitors wrote to, or of a `trust_ratios.csv`,
            `trust_ratios.jsonl`, `noise_scale.csv` or `noise_scale.jsonl` in it. If a folder has
            both formats, the CSV file is read.
        output: String or path of the folder for the report. It is created if missing. `None` means
            the folder `report` next to the record. Defaults to `None`.

    Returns:
        The path of `index.html`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no such record, if the file has another format or no row, or if
            `output` is a file.

    Example:

    >>> file = pathlib.Path(folder) / "trust_ratios.csv"
    >>> columns = "update,epoch,variable,weight_norm,gradient_norm,trust_ratio,learning_rate"
    >>> _ = file.write_text(columns + "\\n1,0.5,kernel,5.0,0.5,0.01,2.0\\n", encoding="utf-8")
    >>> page = keras_lars.report.draw(folder)
    >>> sorted(path.name for path in page.parent.iterdir())
    ['index.html', 'local_learning_rate.png', 'norms.png', 'trust_ratios.png']

    Reference:
        - [You, Gitman and Ginsburg, 2017](https://arxiv.org/abs/1708.03888), figure 2, the local
          learning rates of some layers, and table 2, norms and ratios after the first update.
    """
    from keras_lars import _arguments
    from keras_lars._monitoring import anomalies, files, history, record
    from keras_lars.report import _noise, _page, _plots

    _plots.require_matplotlib()
    noise = _noise.locate(run)
    path = noise if noise is not None and _noise.is_alone(run) else record.locate(run)
    folder = _arguments.folder("output", path.parent / "report" if output is None else output)
    images, section = {}, ""
    if noise is not None:
        rows = _noise.read(noise)
        with _plots.own_style():
            images[_noise.PLOT] = _plots.png(_noise.figure(rows))
        section = _noise.section(rows, images[_noise.PLOT])
    if path == noise:
        page = _noise.page(path, section)
    else:
        found = history.read(path)
        findings = [*anomalies.find(found), *anomalies.without_gradient(found)]
        # Not every update of a long record is drawn.
        drawn = found.thinned([finding.updates[0] for finding in findings if finding.updates])
        with _plots.own_style():
            for name, figure in _plots.figures(drawn).items():
                images[name] = _plots.png(figure)
        page = _page.page(path, found, drawn, findings, section)
    files.write(folder, {**images, "index.html": page.encode("utf-8", "backslashreplace")})
    return folder / "index.html"
