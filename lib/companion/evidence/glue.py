"""Numbers and tables that the prose of a chapter takes from its run."""


def glue(name: str, value) -> None:
    """Keep how `value` is displayed under `name`, for {glue:text}`name`; nothing is shown.

    The output that papermill and MyST-NB's glue write, without importing MyST-NB, and Sphinx with it, in every kernel.
    """
    from IPython.core.formatters import format_display_data
    from IPython.display import display

    data, metadata = format_display_data(value)
    prefix = "application/papermill.record/"
    scrapbook = {"name": name, "mime_prefix": prefix}
    display(
        {prefix + mime: text for mime, text in data.items()}, raw=True, metadata=metadata | {"scrapbook": scrapbook}
    )


class Text(str):
    """A string that displays without quotes."""

    def __repr__(self):
        return str(self)
