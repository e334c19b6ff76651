"""The confusion matrix against that of scikit-learn.

python -m benchmarks.metrics
"""

from __future__ import annotations

import torch
from sklearn.metrics import confusion_matrix

from benchmarks.timing import interleaved, milliseconds
from data.labels import IGNORE_INDEX
from engine.metrics import add_to_confusion
from utils.tables import table
from utils.text import plural

SHAPE, CLASSES = (4, 512, 512), 19
ROUNDS = 9


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    prediction = torch.randint(CLASSES, SHAPE, generator=generator)
    target = torch.randint(CLASSES, SHAPE, generator=generator)
    target[torch.rand(SHAPE, generator=generator) < 0.1] = IGNORE_INDEX

    def ours() -> torch.Tensor:
        confusion = torch.zeros(CLASSES, CLASSES, dtype=torch.int64)
        add_to_confusion(confusion, prediction, target)
        return confusion

    def sklearn() -> torch.Tensor:
        # Pixels with 255 are not in the list of labels, so they are ignored.
        labels = list(range(CLASSES))
        return torch.from_numpy(confusion_matrix(target.flatten().numpy(), prediction.flatten().numpy(), labels=labels))

    assert torch.equal(ours(), sklearn())
    times = interleaved({"scikit-learn": sklearn, "ours": ours}, ROUNDS)
    print(
        table(
            [
                ["confusion matrix", "time"],
                *([name, milliseconds(value)] for name, value in times.items()),
                ["scikit-learn / ours", f"{times['scikit-learn'] / times['ours']:.1f}"],
            ],
            f"{SHAPE}, {plural(torch.get_num_threads(), 'thread')}",
        )
    )


if __name__ == "__main__":
    main()
