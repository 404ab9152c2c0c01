"""What each installed decoder takes on one core: messages a second, beside a bare reading of the same bytes.

Run as a module from the repository: ``python -m bench.decoders``. Messages are made up in ``bench.foreign_samples``.
Bare is msgspec's untyped decode for JSON; for binary frames it is ``sum(frame)``, one walk over its bytes, which every
one of them has to be checked with anyway. Times are CPU time of this process, best of several rounds; a decoder may be
quicker than bare, since it need not build what it does not read.
"""

import argparse
import json
import time
from collections.abc import Callable

import msgspec

from bench.foreign_samples import FAMILIES, ZONE, Sample
from ingest.decoders.said import Arrival, Decoder, Rejected
from ingest.routing import installed

NOW = 1_763_750_400.0
ROUNDS = 5
ROUND_S = 0.2


def per_second(work: Callable[[], object]) -> float:
    """How often it is done in a second of CPU time, in the best round."""
    best = 0.0
    for _ in range(ROUNDS):
        done, begun = 0, time.process_time()
        while (spent := time.process_time() - begun) < ROUND_S:
            for _ in range(200):
                work()
            done += 200
        best = max(best, done / spent)
    return best


def bare(sample: Sample) -> Callable[[], object]:
    """The least that anybody has to do with these bytes."""
    if sample.binary:
        return lambda: sum(sample.payload)
    decoder = msgspec.json.Decoder()
    return lambda: decoder.decode(sample.payload)


def measured(name: str, decoder: Decoder, sample: Sample) -> dict[str, object]:
    """One line of the table."""
    arrival = Arrival(int(NOW * 1e6), ZONE)
    said = decoder.decode(sample.topic, sample.payload, arrival)
    refused = [said] if isinstance(said, Rejected) else [one for one in said if isinstance(one, Rejected)]
    ours = per_second(lambda: decoder.decode(sample.topic, sample.payload, arrival))
    least = per_second(bare(sample))
    return {
        "decoder": name,
        "bytes": len(sample.payload),
        "said": 0 if isinstance(said, Rejected) else len(said),
        "refused": "; ".join(one.detail for one in refused),
        "messages_per_s": round(ours),
        "bare": "sum" if sample.binary else "msgspec",
        "bare_per_s": round(least),
        "of_bare": round(ours / least, 3),
    }


def main() -> int:
    """A JSON line for each decoder, then the table; 1 when a decoder refused what it should know."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument(
        "--only", default="", help="names with commas between them; default: all that are installed"
    )
    only = {name for name in reader.parse_args().only.split(",") if name}
    lines = []
    for name, decoder in installed().items():
        if name not in FAMILIES or (only and name not in only):
            continue
        lines.append(measured(name, decoder, FAMILIES[name](NOW, True)[0]))
        print(json.dumps(lines[-1], ensure_ascii=False), flush=True)
    print(
        f"\n{'decoder':<16}{'bytes':>7}{'said':>6}{'messages/s':>12}{'bare/s':>12}  {'bare':<9}{'of bare':>8}"
    )
    for line in lines:
        print(
            f"{line['decoder']:<16}{line['bytes']:>7}{line['said']:>6}{line['messages_per_s']:>12,}"
            f"{line['bare_per_s']:>12,}  {line['bare']:<9}{line['of_bare']:>8}"
        )
    return 1 if any(line["refused"] for line in lines) else 0


if __name__ == "__main__":
    raise SystemExit(main())
