//! Makers of documents, catalogues of messages, packages and images, most of which write the date into what they make.

use super::super::row::{Times, Tool, tool};

pub(super) const ROWS: &[Tool] = &[
    tool(&["help2man"]).dated().why("help2man(1): the footer of a page has the date"),
    tool(&["xgettext", "msginit"]).dated().why("gettext's manual: POT-Creation-Date, PO-Revision-Date"),
    tool(&["javadoc"]).dated().why("javadoc(1): each page says when it was made, but for `-notimestamp`"),
    tool(&["latex", "pdflatex", "xelatex", "lualatex", "tex", "pdftex"])
        .dated()
        .why("web2c's manual, SOURCE_DATE_EPOCH: `\\today`, and the date of creation of a PDF"),
    tool(&["dvips", "dvipdfm"]).dated().why("dvips' manual: %%CreationDate"),
    tool(&["groff"]).dated().why("groff(1): the registers of the date, and %%CreationDate"),
    tool(&["gs", "ps2pdf"]).dated().why("gs(1): a PDF has the date of its creation"),
    tool(&["mkimage"]).dated().why("mkimage(1): the header of an image has its time"),
    tool(&["makensis"]).dated().why("makensis(1): the time of the link is in the installer"),
    tool(&["rpmbuild"]).dated().why("rpmbuild(8): BUILDTIME"),
    tool(&["pod2man"]).times(|_| Times::Files).why("pod2man(1): the footer of a page has the date of the file"),
];
