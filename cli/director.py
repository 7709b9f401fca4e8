"""`moorage director`: `run`, and commands upon what the Director keeps. Each is a program of the Director's own.

They work upon the database of the settings, not upon a plane that is called; a Director may run beside them.
"""

import click

from cli.service import program, service

director = service("director", "the Director", help="Run the Director alone, or look after what it keeps.")

_output = click.Option(
    ["-o", "--output"],
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Format of the data.",
)
_rewrap = click.Option(
    ["--rewrap"], is_flag=True, help="Only wrap the data keys under the sealing key of today; no secret is touched."
)

director.add_command(
    program(
        "director",
        "migrate",
        "director.migrate",
        "Bring the database to the version of this release; Directors of the one before may run meanwhile.",
    )
)
director.add_command(
    program(
        "director",
        "rotate-keys",
        "director.rotate_keys",
        "Seal every secret under a new data key, while the Director runs. Ended in the middle, the next one goes on.",
        _rewrap,
        _output,
    )
)
director.add_command(
    program(
        "director",
        "export",
        "director.export_registry",
        "Write the whole registry to a file, to be imported into another database; Directors may run meanwhile.",
        click.Option(
            ["-o", "--output"],
            metavar="FILE",
            default="-",
            show_default=True,
            help="A new file, for its owner's eyes only; - for standard output.",
        ),
    )
)
director.add_command(
    program(
        "director",
        "import",
        "director.import_registry",
        "Fill a database on which no Director has done anything yet. INPUT is what was exported: a file, or - for"
        " standard input.",
        _output,
        click.Argument(["input"], metavar="INPUT"),
    )
)
