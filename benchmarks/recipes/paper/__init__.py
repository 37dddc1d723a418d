"""The paper's tables: of 1, 3, 4 and 5 a recipe each row, of 6 what was published.

You, Gitman and Ginsburg: arXiv 1708.03888, and its ICLR 2018 submission (openreview rJ4uaX2aW),
whose text has most of the numbers. What neither says is taken from the authors' solvers
(github.com/borisgin/nvcaffe-0.16, models/), or is `unverified`. `precision` is float32 in all rows;
the solvers of 8,192 images and more compute in float16.
"""

from benchmarks.recipes.paper import alexnet, googlenet, longer, resnet

ROWS = [*alexnet.ROWS, *resnet.ROWS, *longer.ROWS, *googlenet.ROWS]
