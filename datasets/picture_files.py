"""What files among pictures are, told by their names and their first bytes."""

from __future__ import annotations

import re

LEFT_BEHIND = re.compile(
    r"""
    (?:^|/)
    (?: # folders and files, and all that is in these folders
        (?: \.(?![/.])[^/]+                        # hidden: .DS_Store, ._x, .git, .x.swp
          | __macosx | __pycache__ | @eadir | \#recycle | \$recycle\.bin | lost\+found
          | system\ volume\ information
        ) (?:/|$)
        # files
      | (?: (?:eh)?thumbs(?:_vista)?\.db | desktop\.ini | icon\r | picasa\.ini
          | zbthumbnail\.info | pspbrwse\.jbf | sync\.ffs_db
          | [^/]*[:\uf03a_.]?zone\.identifier     # Windows: where a file came from
          | [^/]*~ | ~\$[^/]* | \#[^/]*\#        # editors
          | [^/]*\.(?:sw[op] | bak | orig | rej | tmp)
          | [^/]*\.(?:part | partial | crdownload | download)
          | (?:readme | licen[cs]e | copying | notice | authors | changelog)
            (?:\.(?:txt | md | rst | html | pdf))?
        ) (?:[:\uf03a][^/]*)? $                  # with a stream of NTFS, or without
      | [^/]*\.jpe?g [:\uf03a] [^/]* $           # a stream of a picture
    )
    """,
    re.IGNORECASE | re.VERBOSE,
)

KINDS = {
    b"\x89PNG\r\n\x1a\n": "a PNG",
    b"GIF8": "a GIF",
    b"BM": "a BMP",
    b"II*\0": "a TIFF",
    b"MM\0*": "a TIFF",
    b"\0\0\0\x0cjP  ": "a JPEG 2000",
    b"\xff\x0a": "a JPEG XL",
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a zip",
    b"\x1f\x8b": "a gzip",
    b"BZh": "a bzip2",
    b"\xfd7zXZ": "an xz",
    b"7z\xbc\xaf": "a 7z",
    b"Rar!": "a RAR",
    b"\0\x05\x16\x07": "what macOS keeps beside a file (AppleDouble)",
    b"version https://git-lfs": "a pointer of Git LFS, which `git lfs pull` replaces",
}
"""Files by their first bytes."""
IN_A_BOX = {b"heic": "a HEIC", b"mif1": "a HEIF", b"avif": "an AVIF", b"jxl ": "a JPEG XL"}
"""Pictures in ISO's media format, by the brand in bytes 8 to 12."""


def is_left_behind(name: str) -> bool:
    """Tell whether a system, an editor or a download left a file with such a path."""
    return LEFT_BEHIND.search(name) is not None


def is_jpeg_name(name: str) -> bool:
    """Tell whether a file is called as a JPEG is."""
    return name.lower().endswith((".jpeg", ".jpg"))


def kind_of(data: bytes) -> str | None:
    """Say what a file is that should be a picture; None for a JPEG, or what is unknown."""
    if not data:
        return "empty"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "a WebP"
    if data[4:8] == b"ftyp":
        return IN_A_BOX.get(data[8:12])
    if not any(data[:4096]):
        return "only zeros"
    for first, kind in KINDS.items():
        if data.startswith(first):
            return kind
    try:
        text = data[:512].decode("ascii").lstrip()
    except UnicodeDecodeError:
        return None
    return ("a web page, or XML" if text.startswith("<") else "text") if text else "blank"
