"""The settings of a run: one frozen dataclass that completes and checks itself. No TensorFlow."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from fcn_tf import registry
from fcn_tf.config import checks, scopes
from fcn_tf.config.conflicts import conflicts
from fcn_tf.config.fields import Fields
from fcn_tf.config.flag import Scope, flag_name, flag_of
from fcn_tf.data import crops
from fcn_tf.errors import UserError

ALIASES = {"test": "evaluate"}


@dataclass(frozen=True)
class Config(Fields):
    """Every flag, resolved: aliases are replaced, and what was not given is the data set's default where it has one.

    Raises:
      UserError: when a value is none that its flag takes, or two flags contradict each other.
    """

    def __post_init__(self) -> None:
        self._set(mode=ALIASES.get(self.mode, self.mode))
        if self.mode == "prepare" and self.split not in ("", "all"):
            raise UserError(f"--mode=prepare writes every split there is, got --split={self.split}; leave it out.")
        if not self.split:
            self._set(split="all" if self.mode in ("check", "prepare") else "validation")
        if self.staged and self.arch == Config.arch:
            self._set(arch=registry.STAGED[-1])
        defaults = (
            registry.resolve(registry.DATASETS[self.dataset]).defaults if self.dataset in registry.DATASETS else {}
        )
        self._set(**{name: value for name, value in defaults.items() if getattr(self, name) in (0, "", "0")})
        self._set(image_size=_size_text(self.image_size))
        for field in dataclasses.fields(self):
            value, check = getattr(self, field.name), flag_of(field).check
            if isinstance(value, str) and "\0" in value:
                raise UserError(f"--{flag_name(field)} must have no NUL characters, got {value!r}.")
            if check is not None and not check.accepts(value):
                raise UserError(
                    f"--{field.name} must be {check.expected}, got {value!r}{checks.suggestion(value, check.choices)}"
                )
        # The same scales and stages are the same text in every config.json.
        self._set(scales=str(crops.parse_scales(self.scales)))
        frozen = self.freeze.split(",")
        self._set(freeze=",".join(stage for stage in registry.STAGES if stage in frozen or "trunk" in frozen))
        if self.quirks not in ("all", "none"):
            kept = [quirk for quirk in registry.QUIRKS if quirk in self.quirks.split(",")]
            self._set(quirks="all" if len(kept) == len(registry.QUIRKS) else ",".join(kept))
        for message in conflicts(self):
            raise UserError(message)

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def crop_size(self) -> crops.Size:
        """(height, width) of `image_size`."""
        return crops.parse_size(self.image_size)

    @property
    def needs_run(self) -> bool:
        """Whether the mode can do nothing where `logs_dir` holds no run."""
        return self.mode in scopes.OF_A_RUN and not self.predictions

    def data_flags(self) -> dict[str, Any]:
        """The options of the data set, as `datasets.load` takes them."""
        return {name: getattr(self, name) for name in (*scopes.names(Scope.DATA), "seed")}

    def arch_flags(self) -> dict[str, Any]:
        """The flags of the arch, as `build_network` takes them."""
        return registry.arch_flags(self.arch, dataclasses.asdict(self))

    def to_json(self) -> dict[str, Any]:
        """The flags that describe a run, for config.json: all but those of one command."""
        return {
            name: value for name, value in dataclasses.asdict(self).items() if name not in scopes.names(Scope.COMMAND)
        }


def _size_text(size: str | int | crops.Size) -> str:
    """`--image_size`, the same text for the same size; what is no size stays as it is."""
    if not isinstance(size, str):
        return crops.format_size(size)
    return crops.format_size(crops.parse_size(size)) if checks.reads(crops.parse_size, size) else size
