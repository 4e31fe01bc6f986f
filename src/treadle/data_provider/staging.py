"""The staging providers, and those that are used where an executor names none."""

from __future__ import annotations

from treadle.data_provider._staging_base import Staging
from treadle.data_provider.file_noop import NoOpFileStaging
from treadle.data_provider.fsspec import FsspecStaging, fsspec_installed
from treadle.data_provider.ftp import FTPSeparateTaskStaging
from treadle.data_provider.http import HTTPSeparateTaskStaging
from treadle.data_provider.zip import ZipFileStaging

__all__ = ["Staging", "default_staging"]

#: Asked in this order, for executors whose `storage_access` is None. The first that can, does.
#: s3, gs, sftp, memory and others are there when fsspec is installed.
default_staging: list[Staging] = [
    NoOpFileStaging(),
    FTPSeparateTaskStaging(),
    HTTPSeparateTaskStaging(),
    ZipFileStaging(),
]
if fsspec_installed():
    default_staging.append(FsspecStaging())
