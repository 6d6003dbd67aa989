"""The settings of a run: a field a flag, checked, and completed by those of a run that is there. No TensorFlow.

Others import from here alone. A file imports those above it:

  checks     the values that flags accept
  flag       what a field says about its flag
  fields     every flag
  scopes     which flags hold how long, and which a mode reads
  conflicts  flags that contradict each other
  config     `Config`: the fields, completed and checked
  typed      flags that were typed and that nothing would read
  merging    the flags of a command, completed by those of its run
  commands   settings as a command that trains with them
"""

from fcn_tf.config.checks import ON_BAD_EXAMPLE, ON_NAN, PRECISIONS, RESUME_FROM, Check
from fcn_tf.config.commands import TRAINED_WEIGHTS, command_of, train_command
from fcn_tf.config.config import ALIASES, Config
from fcn_tf.config.conflicts import ARCH_FLAGS
from fcn_tf.config.flag import Flag, Scope, flag_name, flag_of
from fcn_tf.config.merging import complete, merge
from fcn_tf.config.scopes import RESUMABLE, flags_of

__all__ = [
    "ALIASES",
    "ARCH_FLAGS",
    "ON_BAD_EXAMPLE",
    "ON_NAN",
    "PRECISIONS",
    "RESUMABLE",
    "RESUME_FROM",
    "TRAINED_WEIGHTS",
    "Check",
    "Config",
    "Flag",
    "Scope",
    "command_of",
    "complete",
    "flag_name",
    "flag_of",
    "flags_of",
    "merge",
    "train_command",
]
