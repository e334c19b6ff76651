"""Types of config values, for pydantic to check. They are strict: "3" is no number, 1 is no flag."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

# Upper limits are far above useful values: they catch typing mistakes.
Positive = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
NonNegative = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
BatchSize = Annotated[int, Field(strict=True, ge=1, le=65_536)]
Workers = Annotated[int, Field(strict=True, ge=0, le=256)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32)]
Rate = Annotated[float, Field(strict=True, gt=0, le=1e15, allow_inf_nan=False)]
Overlap = Annotated[float, Field(strict=True, ge=0, le=0.95, allow_inf_nan=False)]
Share = Annotated[float, Field(strict=True, ge=0, lt=1, allow_inf_nan=False)]
Text = Annotated[str, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "off", "fp16", "bf16"]
