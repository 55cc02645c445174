"""`python -m admin`: rebuild, verify, import and export, against Azurite or an account in Azure.

The settings are those of the service (docs/configuration.md), read from the environment. What a command did is on
standard output, how far it has come on standard error. Exit codes:

    0    all is well
    1    done, but something is not as it should be: the table says what
    2    an argument or setting is wrong; nothing was done
    3    storage could not be reached or did not do its work; what was done is done, and can be gone on with
    130  stopped by Ctrl-C; likewise. A second Ctrl-C does not wait for what is under way
"""

import argparse
import asyncio
import logging
import sqlite3
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path

from admin import commands, stopping
from shared.app import keep_identifiers_out_of_logs
from shared.errors import MalformedRow, NotFound, ServiceError, SettingError

_DESCRIPTION = """\
Look after an archive: fill it, empty it into a folder, check it, make its index anew.

Settings are read from the environment, as the service reads them: DICOM_STORAGE_CONNECTION for Azurite, or
DICOM_BLOB_ENDPOINT and DICOM_TABLE_ENDPOINT for an account in Azure, which is reached as whoever is signed in
(`az login`, or a managed identity) and needs the roles Storage Blob Data Contributor and Storage Table Data
Contributor. DICOM_CONTAINER and DICOM_TABLE name the archive."""

_EPILOG = """\
Exit codes: 0 all is well; 1 done, but something is not as it should be; 2 an argument or setting is wrong; 3 storage
did not answer; 130 stopped by Ctrl-C. After 3 and 130 the same command goes on with what is left."""

_DETAILS = (
    "write what the table counts to FILE, a line each, tab-separated; it holds UIDs and names of files and patients"
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m admin",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subcommands = made.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (_rebuild, _verify, _import, _export):
        add(subcommands)
    return made


type _Subcommands = argparse._SubParsersAction[argparse.ArgumentParser]


def _rebuild(subcommands: _Subcommands) -> None:
    made = _command(
        subcommands,
        "rebuild",
        "make the index anew from the blobs",
        """\
Make the index anew: every instance whose blob is there and that has no row gets one. Each of these blobs is read
once, whole. Rows that name a blob which is there are left alone, so the command may be stopped and run again, and the
service may go on meanwhile. To make all rows anew, let DICOM_TABLE name a table that does not exist yet.""",
        commands.rebuild,
    )
    made.add_argument(
        "--old-table",
        metavar="NAME",
        help="the table that this one replaces: what has been deleted or replaced there stays so",
    )
    made.add_argument(
        "--idle",
        action="store_true",
        help="nobody stores anything meanwhile: take versions of the last 20 minutes too, which a store that is under "
        "way might still give up",
    )
    made.add_argument(
        "--remove-rows", action="store_true", help="remove rows whose blob is gone, instead of only counting them"
    )
    made.add_argument("--details", type=Path, metavar="FILE", help=_DETAILS)


def _verify(subcommands: _Subcommands) -> None:
    made = _command(
        subcommands,
        "verify",
        "check that index and blobs agree",
        """\
Check that every row has its blobs with the right lengths, that every blob has a row or is known to be superfluous,
that counts are right and that every study and series is found by what it holds, and by nothing else. Changes nothing.
The service may go on meanwhile: whatever looks wrong is looked at again before it counts.""",
        commands.verify,
    )
    made.add_argument("--details", type=Path, metavar="FILE", help=_DETAILS)


def _import(subcommands: _Subcommands) -> None:
    made = _command(
        subcommands,
        "import",
        "store the files of a folder or container",
        """\
Store every DICOM file of a folder and of all folders below it, or of a container of blobs, under the rules of v2 of
the service. What is no DICOM file is counted and left alone, and so are instances that are stored already.""",
        commands.import_files,
    )
    source = made.add_mutually_exclusive_group(required=True)
    source.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="folder to import")
    source.add_argument("--container", metavar="NAME", help="container to import, in the account of the archive")
    source.add_argument(
        "--container-url",
        metavar="URL",
        help="container to import in any account, as in https://account.blob.core.windows.net/container/prefix; "
        "whoever is signed in must be a Storage Blob Data Reader there",
    )
    made.add_argument(
        "--prefix", default="", metavar="TEXT", help="of a --container only the blobs whose names begin so"
    )
    made.add_argument("--replace", action="store_true", help="replace instances that are stored already, as PUT does")
    made.add_argument(
        "--journal",
        type=Path,
        metavar="FILE",
        help="remember in FILE what is done, so that another run with the same FILE does not read it again; a file "
        "that has changed is imported again",
    )
    made.add_argument("--details", type=Path, metavar="FILE", help=_DETAILS)


def _export(subcommands: _Subcommands) -> None:
    made = _command(
        subcommands,
        "export",
        "write a study, or every study, to a folder",
        """\
Write instances to FOLDER/{series}/{instance}.dcm, byte for byte as they were stored; with --all to
FOLDER/{study}/{series}/{instance}.dcm. A file that is there already with the right length is left alone. A file is
there as a whole or not at all.""",
        commands.export,
    )
    made.add_argument("folder", type=Path, metavar="FOLDER", help="folder to write to; made if it does not exist")
    what = made.add_mutually_exclusive_group(required=True)
    what.add_argument("--study", metavar="UID", help="the study to export")
    what.add_argument("--all", action="store_true", help="export every study")
    made.add_argument("--series", metavar="UID", help="only this series of the study")
    made.add_argument(
        "--transfer-syntax",
        metavar="UID",
        help="transcode to this transfer syntax where that is possible; files that are there in it are left alone",
    )
    made.add_argument("--details", type=Path, metavar="FILE", help=_DETAILS)


type Command = Callable[[argparse.Namespace], Coroutine[None, None, bool]]


def _command(
    subcommands: _Subcommands, name: str, summary: str, description: str, run: Command
) -> argparse.ArgumentParser:
    made = subcommands.add_parser(
        name, help=summary, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.set_defaults(run=run)
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name; returns the exit code."""
    chosen = parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    keep_identifiers_out_of_logs()
    # Of credentials that do not work it says which it tried, in many lines; the sentence below has to do.
    logging.getLogger("azure").setLevel(logging.CRITICAL)
    try:
        return 0 if stopping.run(chosen.run(chosen)) else 1
    except SettingError as error:
        return _fail(2, str(error))
    except OSError as error:
        # Only what the operator has named is said: the names of others may be UIDs.
        if str(error.filename) in (str(each) for each in vars(chosen).values() if isinstance(each, Path)):
            return _fail(2, f"{error.filename}: {error.strerror}")
        return _fail(3, f"a file or folder could not be used: {error.strerror}. What was done until then is done")
    except sqlite3.Error as error:
        return _fail(3, f"the journal, or the folder for temporary files, could not be used: {error}")
    except (MalformedRow, NotFound) as error:
        return _fail(1, str(error))
    except ServiceError as error:
        hint = " Sign in first, with `az login`." if "Authentication" in str(error) else ""
        return _fail(3, f"{error}.{hint}")
    except asyncio.CancelledError:
        return _fail(stopping.STOPPED, "stopped; the same command goes on with what is left")


def _fail(code: int, sentence: str) -> int:
    print(f"python -m admin: {sentence}", file=sys.stderr)
    return code
