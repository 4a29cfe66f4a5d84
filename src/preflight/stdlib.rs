//! Modules that need no package: those of Python's standard library.

use std::{collections::HashSet, sync::LazyLock};

/// `sys.stdlib_module_names` of Python 3.8 to 3.14, and after the line break of Python 2, which no package brings back.
const NAMES: &str = "abc aifc annotationlib antigravity argparse array ast asynchat asyncio asyncore atexit audioop base64 \
    bdb binascii binhex bisect builtins bz2 cProfile calendar cgi cgitb chunk cmath cmd code codecs codeop collections \
    colorsys compileall compression concurrent configparser contextlib contextvars copy copyreg crypt csv ctypes curses \
    dataclasses datetime dbm decimal difflib dis distutils doctest dummy_threading email encodings ensurepip enum errno \
    faulthandler fcntl filecmp fileinput fnmatch formatter fractions ftplib functools gc genericpath getopt getpass \
    gettext glob graphlib grp gzip hashlib heapq hmac html http idlelib imaplib imghdr imp importlib inspect io \
    ipaddress itertools json keyword lib2to3 linecache locale logging lzma macpath mailbox mailcap marshal math \
    mimetypes mmap modulefinder msilib msvcrt multiprocessing netrc nis nntplib nt ntpath nturl2path numbers opcode \
    operator optparse os ossaudiodev parser pathlib pdb pickle pickletools pipes pkgutil platform plistlib poplib posix \
    posixpath pprint profile pstats pty pwd py_compile pyclbr pydoc pydoc_data pyexpat queue quopri random re readline \
    reprlib resource rlcompleter runpy sched secrets select selectors shelve shlex shutil signal site smtpd smtplib \
    sndhdr socket socketserver spwd sqlite3 sre_compile sre_constants sre_parse ssl stat statistics string stringprep \
    struct subprocess sunau symbol symtable sys sysconfig syslog tabnanny tarfile telnetlib tempfile termios textwrap \
    this threading time timeit tkinter token tokenize tomllib trace traceback tracemalloc tty turtle turtledemo types \
    typing unicodedata unittest urllib uu uuid venv warnings wave weakref webbrowser winreg winsound wsgiref xdrlib xml \
    xmlrpc zipapp zipfile zipimport zlib zoneinfo \
    ConfigParser Cookie HTMLParser Queue SimpleHTTPServer SocketServer StringIO Tkinter UserDict cPickle cStringIO \
    commands cookielib exceptions httplib sets thread urllib2 urlparse xmlrpclib";

static MODULES: LazyLock<HashSet<&str>> =
    LazyLock::new(|| NAMES.split(' ').filter(|name| !name.is_empty()).collect());

/// Whether a top-level module is of the standard library.
pub(super) fn is_standard(module: &str) -> bool {
    module.starts_with("__") || MODULES.contains(module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_modules_are_known_and_packages_are_not() {
        for module in ["os", "distutils", "zoneinfo", "parser", "urllib2", "__future__", "compression"] {
            assert!(is_standard(module), "{module}");
        }
        assert!(!is_standard("django") && !is_standard("yaml") && !is_standard(""));
    }
}
