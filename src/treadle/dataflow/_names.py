"""Names that several rooms of the kernel share."""

from __future__ import annotations

#: The label that the kernel's own executor for joins, staging and selections has.
INTERNAL_LABEL = "_treadle_internal"

#: As stdout or stderr of an app: a file in the run directory, named after the task.
AUTO_LOGNAME = -1
