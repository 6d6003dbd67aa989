"""Which flags hold how long, and which of them a mode reads. No TensorFlow."""

import dataclasses
import functools

from fcn_tf.config.fields import Fields
from fcn_tf.config.flag import Scope, flag_of


@functools.cache
def names(scope: Scope) -> tuple[str, ...]:
    """The names of the fields that have this scope."""
    return tuple(field.name for field in dataclasses.fields(Fields) if flag_of(field).scope is scope)


RESUMABLE = names(Scope.RESUMABLE)
_OF_DATA = ("dataset", "data_dir", *names(Scope.DATA))
_READ = {  # of the flags of the data, model and run, those that modes other than trainings read from the command line
    "visualize": (*_OF_DATA, "batch_size", "seed"),
    "evaluate": (*_OF_DATA, "batch_size", "seed"),
    "export": (*_OF_DATA, "seed"),
    "predict": ("palette",),
    "explain": ("palette",),
    "serve": ("palette",),
}
OF_A_RUN = tuple(_READ)  # the modes that use a run's model


def flags_of(mode: str) -> list[dataclasses.Field]:
    """The fields of the flags that a mode reads; of a mode that is none of ours, all but those of other modes alone."""

    def reads(field: dataclasses.Field) -> bool:
        modes, scope = flag_of(field).modes, flag_of(field).scope
        if modes or scope is Scope.COMMAND:
            return not modes or mode in modes
        return field.name in _READ.get(mode, (field.name,))  # check and prepare print them all

    return [field for field in dataclasses.fields(Fields) if reads(field)]
