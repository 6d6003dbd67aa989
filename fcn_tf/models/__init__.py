"""Networks: trunk, head, pretrained weights."""
