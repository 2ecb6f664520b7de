"""`python -m benchmarks NAME …` (NAME: one of `SETS`); without a name, all."""

from __future__ import annotations

import sys

from . import (
    adversarial,
    context,
    decomposition,
    defects,
    evaluation,
    fidelity,
    kills,
    learning,
    localisation,
    many,
    maps,
    quantus,
    speed,
    tiles,
    truth,
)

SETS = {
    "speed": speed.main,
    "localisation": localisation.main,
    "decomposition": decomposition.main,
    "fidelity": fidelity.main,
    "many": many.main,
    "maps": maps.main,
    "evaluation": evaluation.main,
    "kills": kills.main,
    "learning": learning.main,
    "defects": defects.main,
    "tiles": tiles.main,
    "truth": truth.main,
    "adversarial": adversarial.main,
    "context": context.main,
    "quantus": quantus.main,
}


def main(arguments: list[str]) -> int:
    if not arguments:
        return max(run([]) for run in SETS.values())
    if arguments[0] not in SETS:
        print(f"{arguments[0]!r} is no benchmark; there are: {', '.join(SETS)}", file=sys.stderr)
        return 2
    return SETS[arguments[0]](arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
