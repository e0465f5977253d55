"""XML of strangers."""

from xml.etree import ElementTree

from flywheel.errors import IngestError


def parse_xml(text: str, where: str) -> ElementTree.Element:
    """Root of an XML text. Raises IngestError when it is damaged, or declares entities, which can be bombs."""
    if "<!DOCTYPE" in text:
        raise IngestError(f"{where}: a document type declaration, which no export has; remove it")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, RecursionError) as err:
        raise IngestError(f"{where}: not valid XML ({err}); export it again") from err
