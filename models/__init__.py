"""Networks: one file per architecture, each a plain `nn.Module` from images (N, 3, H, W) to logits (N, C, H, W)."""
