"""Tables in Markdown, read back."""


def cells(text):
    """The cells of every line of the tables in a text, headers too."""
    lines = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def read_table(text):
    """Row -> column -> cell of the table in a text, which has one."""
    header, *rows = cells(text)
    return {row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in rows}
