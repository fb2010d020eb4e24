"""What the cells did while a text was read, boiled down to what a page can show.

T tokens, L layers, H hidden units, N units of a layer that are drawn.
"""

import base64

import numpy as np

from lstm.web.reader import Trace

DRAWN = 64  # N, at most
CHANGED = 3  # units that are told of each token
STRONGEST = 4  # units whose drivers are told
DRIVERS = 4  # tokens that are told for each way


def pictures(trace: Trace) -> dict:
    """JSON types only:

    units: for each layer, which N units are drawn, neighbours alike;
    maps: for each of input, forget, output, cell and hidden, and each layer, N rows of T bytes in base64: 0 to 255 for
    0 to 1 where it is a gate, for -scale to scale where it is not;
    scale: of cell and of hidden, the same for all layers;
    means: for each token, the mean input, forget and output gate;
    half: for each token, how many tokens later half of what its median unit and its slowest unit held is forgotten;
    negative where it was not by the end of the text; and the slowest's layer and unit;
    changed: for each token, [layer, unit, input, forget, candidate, output, cell before, cell, hidden] of those that
    changed most;
    strongest: [layer, unit, tokens that drove it up most, tokens that drove it down most].
    """
    before = np.concatenate([_cell_before(trace)[None], trace.cell[:-1]])
    change = trace.cell - before  # (T, L, H)
    units = [_ordered(trace.cell[:, layer]) for layer in range(trace.cell.shape[1])]
    scale = {name: float(np.abs(getattr(trace, name)).max()) or 1.0 for name in ("cell", "hidden")}
    maps = {}
    for name in ("input", "forget", "output", "cell", "hidden"):
        values, top = getattr(trace, name), scale.get(name)
        share = (values / top + 1) / 2 if top else values
        drawn = (255 * share).round().clip(0, 255).astype(np.uint8)
        maps[name] = [base64.b64encode(drawn[:, n, kept].T.tobytes()).decode() for n, kept in enumerate(units)]
    gates = np.stack([trace.input, trace.forget, trace.output]).mean(axis=(2, 3)).T  # (T, 3)
    return {
        "units": [kept.tolist() for kept in units],
        "maps": maps,
        "scale": {name: round(value, 3) for name, value in scale.items()},
        "means": gates.round(3).tolist(),
        "half": _half_lives(trace.forget),
        "changed": _changed(trace, before, change),
        "strongest": _strongest(change),
    }


def _cell_before(trace: Trace) -> np.ndarray:
    """The cells before the first token, (L, H), from the equation c = f c' + i g."""
    return (trace.cell[0] - trace.input[0] * trace.candidate[0]) / np.maximum(trace.forget[0], 1e-6)


def _ordered(cell: np.ndarray) -> np.ndarray:
    """The units that move most, (N,), in the order of the angle of their two main movements: cell (T, H)."""
    kept = np.sort(np.argsort(-cell.var(axis=0), kind="stable")[:DRAWN])
    moves = cell[:, kept] - cell[:, kept].mean(axis=0)
    if len(moves) < 3:
        return kept
    _, _, main = np.linalg.svd(moves / np.maximum(moves.std(axis=0), 1e-6), full_matrices=False)
    return kept[np.argsort(np.arctan2(main[1], main[0]), kind="stable")]


def _half_lives(forget: np.ndarray) -> list[list[int]]:
    """Median, slowest, the slowest's layer and unit, for each token: forget (T, L, H)."""
    T, L, H = forget.shape
    lost = np.cumsum(-np.log(np.maximum(forget.reshape(T, L * H), 1e-9)), axis=0)  # nats forgotten up to a token
    lives = np.empty((T, L * H), np.int64)
    for unit in range(L * H):
        gone = np.searchsorted(lost[:, unit], lost[:, unit] + np.log(2))
        lives[:, unit] = gone - np.arange(T)
    median, slowest = np.median(lives, axis=1).astype(int), lives.argmax(axis=1)
    left = np.arange(T, 0, -1)  # a life of so many tokens has not ended with the text
    told = []
    for t in range(T):
        longest, layer = lives[t, slowest[t]], slowest[t] // H
        signed = [int(-life if life >= left[t] else life) for life in (median[t], longest)]
        told.append([*signed, int(layer), int(slowest[t] % H)])
    return told


def _changed(trace: Trace, before: np.ndarray, change: np.ndarray) -> list[list[list[float]]]:
    T, L, H = change.shape
    size = -np.abs(change.reshape(T, L * H))
    most = np.argpartition(size, min(CHANGED, L * H - 1), axis=1)[:, :CHANGED]
    most = np.take_along_axis(most, np.take_along_axis(size, most, axis=1).argsort(axis=1, kind="stable"), axis=1)
    parts = (trace.input, trace.forget, trace.candidate, trace.output, before, trace.cell, trace.hidden)
    rows = np.stack([np.take_along_axis(part.reshape(T, L * H), most, axis=1) for part in parts], axis=2)
    rows = rows.astype(np.float64).round(4)
    return [
        [[int(unit // H), int(unit % H), *values] for unit, values in zip(most[t], rows[t].tolist(), strict=True)]
        for t in range(T)
    ]


def _strongest(change: np.ndarray) -> list[list]:
    T, L, H = change.shape
    flat = change.reshape(T, L * H)
    told = []
    for unit in np.argsort(-flat.std(axis=0), kind="stable")[:STRONGEST].tolist():
        order = np.argsort(flat[:, unit], kind="stable")
        up = [int(t) for t in order[::-1][:DRIVERS] if flat[t, unit] > 0]
        down = [int(t) for t in order[:DRIVERS] if flat[t, unit] < 0]
        told.append([unit // H, unit % H, up, down])
    return told
