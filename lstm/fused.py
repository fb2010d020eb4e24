"""One LSTM layer over a whole window, forward and backward.

torch's kernels (cuDNN, oneDNN) do it, but for bfloat16 on a CPU: there the loop below is faster. It projects the
inputs of all T steps in one product and gathers each weight's gradient in one product after the loop.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

LayerOutput = tuple[Tensor, Tensor, Tensor]


def lstm_layer(
    x: Tensor, hidden: Tensor, cell: Tensor, weight_x: Tensor, weight_h: Tensor, bias: Tensor
) -> LayerOutput:
    """x (T, B, E), hidden and cell (B, H), weight_x (4H, E), weight_h (4H, H), bias (4H,) -> y (T, B, H), hidden, cell.

    Gates stand in torch's order: input, forget, candidate, output. Products run in the dtype of x, float32 or
    bfloat16; on a CPU the cell state stays in float32.
    Source: Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000.
    """
    if x.is_cuda or x.dtype == torch.float32:
        weights = [w.to(x.dtype) for w in (weight_x, weight_h, bias, torch.zeros_like(bias))]
        state = (hidden.to(x.dtype)[None], cell.to(x.dtype)[None])
        y, h, c = torch._VF.lstm(x, state, weights, True, 1, 0.0, torch.is_grad_enabled(), False, False)
        return y, h[0], c[0]
    return _LayerOnCPU.apply(x, hidden, cell, weight_x.to(x.dtype), weight_h.to(x.dtype), bias.to(x.dtype))


class _LayerOnCPU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, hidden, cell, weight_x, weight_h, bias):
        T, B, E = x.shape
        H = hidden.shape[1]
        gates = torch.addmm(bias, x.reshape(T * B, E), weight_x.t()).view(T, B, 4 * H)
        y = x.new_empty(T, B, H)
        cells = torch.empty(T + 1, B, H)
        squashed = x.new_empty(T, B, H)  # tanh(cell)
        cells[0] = cell
        h, recurrent = hidden.to(x.dtype), weight_h.t()
        first = h
        for t in range(T):
            z = gates[t]
            z.addmm_(h, recurrent)
            z[:, : 2 * H].sigmoid_()
            z[:, 2 * H : 3 * H].tanh_()
            z[:, 3 * H :].sigmoid_()
            i, f, g, o = z.chunk(4, dim=1)
            torch.mul(cells[t], f, out=cells[t + 1]).addcmul_(i.float(), g.float())
            squashed[t] = cells[t + 1]
            squashed[t].tanh_()
            h = torch.mul(squashed[t], o, out=y[t])
        ctx.save_for_backward(x, first, weight_x, weight_h, gates, cells, squashed, y)
        return y, h.float(), cells[T].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, dy, dh_last, dc_last):
        x, first, weight_x, weight_h, gates, cells, squashed, y = ctx.saved_tensors
        T, B, H = y.shape
        i, f, g, o = gates.chunk(4, dim=2)
        slope = torch.empty_like(gates)  # d(cell or hidden)/d(pre-activation), but for the running factors
        si, sf, sg, so = slope.chunk(4, dim=2)
        torch.mul(g * i, 1 - i, out=si)
        torch.mul(cells[:T].to(f.dtype) * f, 1 - f, out=sf)
        torch.mul(i, 1 - g * g, out=sg)
        torch.mul(squashed * o, 1 - o, out=so)
        through_output = o * (1 - squashed * squashed)
        dh, dc = dh_last.to(x.dtype), dc_last.float()
        for t in range(T - 1, -1, -1):
            dh = dh + dy[t]
            dc = torch.addcmul(dc, dh.float(), through_output[t].float())
            s = slope[t].view(B, 4, H)
            s[:, :3].mul_(dc.to(s.dtype)[:, None])
            s[:, 3].mul_(dh)
            dc.mul_(f[t])
            dh = slope[t] @ weight_h
        flat = slope.view(T * B, 4 * H)
        before = torch.cat([first[None], y[:-1]]).view(T * B, H)
        dx = (flat @ weight_x).view(x.shape) if ctx.needs_input_grad[0] else None
        return dx, dh.float(), dc, flat.t() @ x.reshape(T * B, -1), flat.t() @ before, flat.sum(0)
