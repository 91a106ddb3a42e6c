"""Self-attention in training, to the bit that of `nn.MultiheadAttention`, with fewer copies.

PyTorch's module lays queries, keys and values out as one tensor of three parts, and its backward fills each
part of three such tensors and adds them up: a tenth of a small ViT's step on CPUs.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention


class SelfAttention(nn.MultiheadAttention):
    """Attention of a sequence to itself, without dropout; its parameters are those of PyTorch's module."""

    def forward(  # type: ignore[override]  # the rest is passed on as it comes
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        attn_mask: Tensor | None = None,
        **options: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """Outputs `[N, L, D]` of a batch `[N, L, D]`, which is query, key and value; and no weights.

        Whatever else PyTorch's module can do is left to it, and evaluation, for which it has faster kernels.

        Args:
            query: the batch.
            key: the same tensor.
            value: the same tensor.
            attn_mask: `[L, L]`, added to the scores.
            options: as PyTorch's module takes them; here that no weights are needed.
        """
        itself = key is query and value is query
        if not (self.training and itself and options == {"need_weights": False}):
            return super().forward(query, key, value, attn_mask=attn_mask, **options)
        n, length, width = query.shape
        # position by position, as PyTorch's does: gradients of the weights are then summed in the same order
        packed = linear(query.transpose(0, 1), self.in_proj_weight, self.in_proj_bias)
        shape = (length, n, 3, self.num_heads, width // self.num_heads)
        queries, keys, values = packed.view(shape).permute(2, 1, 3, 0, 4).unbind(0)
        found = scaled_dot_product_attention(queries, keys, values, attn_mask)
        rows = found.permute(2, 0, 1, 3).reshape(length * n, width)
        mixed = linear(rows, self.out_proj.weight, self.out_proj.bias)
        return mixed.view(length, n, width).transpose(0, 1), None


def with_fewer_copies(model: nn.Module) -> None:
    """Lets a model's transformers attend by `SelfAttention`, where they do so without dropout."""
    for module in model.modules():
        if type(module) is nn.MultiheadAttention and module.batch_first and not module.dropout:
            module.__class__ = SelfAttention
