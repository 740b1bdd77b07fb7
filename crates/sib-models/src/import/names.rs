//! Which names a pickle may refer to at all.
//!
//! Nothing is ever called here, so that no name can do harm. But a file that runs programs where Python
//! opens it must not pass for harmless: that takes a name of Python's own library, directly or in the end,
//! and of that only the data types that training checkpoints hold are let through. Names of other modules
//! are classes of the software that wrote the file.

/// Modules of Python's own library: `sys.stdlib_module_names` of Python 3.11 without those that begin with
/// an underscore, and what Python 2 called them.
const STANDARD_LIBRARY: &str = "\
ConfigParser Cookie HTMLParser Queue SimpleHTTPServer SocketServer StringIO Tkinter \
    UserDict abc aifc annotationlib antigravity argparse array ast asynchat asyncio asyncore \
    atexit audioop base64 bdb binascii bisect builtins bz2 cPickle cProfile cStringIO calendar \
    cgi cgitb chunk cmath cmd code codecs codeop collections colorsys commands compileall \
    compression concurrent configparser contextlib contextvars copy copy_reg copyreg crypt csv \
    ctypes curses dataclasses datetime dbm decimal difflib dis distutils doctest dummy_thread \
    email encodings ensurepip enum errno faulthandler fcntl filecmp fileinput fnmatch \
    fractions ftplib functools gc genericpath getopt getpass gettext glob graphlib grp gzip \
    hashlib heapq hmac html http httplib idlelib imaplib imghdr imp importlib inspect io \
    ipaddress itertools json keyword lib2to3 linecache locale logging lzma mailbox mailcap \
    marshal math mimetypes mmap modulefinder msilib msvcrt multiprocessing netrc nis nntplib \
    nt ntpath nturl2path numbers opcode operator optparse os os2emxpath ossaudiodev pathlib \
    pdb pickle pickletools pipes pkgutil platform plistlib popen2 poplib posix posixpath \
    pprint profile pstats pty pwd py_compile pyclbr pydoc pydoc_data pyexpat queue quopri \
    random re readline reprlib resource rlcompleter runpy sched secrets select selectors sets \
    shelve shlex shutil signal site sitecustomize smtpd smtplib sndhdr socket socketserver \
    spwd sqlite3 sre_compile sre_constants sre_parse ssl stat statistics string stringprep \
    struct subprocess sunau symtable sys sysconfig syslog tabnanny tarfile telnetlib tempfile \
    termios textwrap this thread threading time timeit tkinter token tokenize tomllib trace \
    traceback tracemalloc tty turtle turtledemo types typing unicodedata unittest urllib \
    urllib2 urlparse uu uuid venv warnings wave weakref webbrowser winreg winsound wsgiref \
    xdrlib xml xmlrpc xmlrpclib zipapp zipfile zipimport zlib zoneinfo";

/// Data types of that library, and the functions that pickles make data by.
const DATA: &[(&str, &[&str])] = &[
    ("_codecs", &["encode"]),
    ("argparse", &["Namespace"]),
    ("array", &["array", "_array_reconstructor"]),
    (
        "builtins",
        &[
            "Ellipsis",
            "NotImplemented",
            "bool",
            "bytearray",
            "bytes",
            "complex",
            "dict",
            "float",
            "frozenset",
            "int",
            "list",
            "long",
            "object",
            "range",
            "set",
            "slice",
            "str",
            "tuple",
            "unicode",
            "xrange",
        ],
    ),
    ("collections", &["Counter", "OrderedDict", "UserDict", "UserList", "defaultdict", "deque"]),
    ("copyreg", &["_reconstructor", "__newobj__"]),
    ("datetime", &["date", "datetime", "time", "timedelta", "timezone"]),
    ("decimal", &["Decimal"]),
    ("enum", &["Enum", "Flag", "IntEnum", "IntFlag"]),
    ("fractions", &["Fraction"]),
    ("functools", &["partial"]),
    ("logging", &["Logger", "getLogger"]),
    (
        "pathlib",
        &["Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath"],
    ),
    ("random", &["Random"]),
    ("re", &["_compile"]),
    ("types", &["SimpleNamespace"]),
    (
        "typing",
        &[
            "Any", "Callable", "Dict", "List", "Literal", "Optional", "Sequence", "Set", "Tuple",
            "Union",
        ],
    ),
    ("uuid", &["UUID"]),
    ("zoneinfo", &["ZoneInfo"]),
];

/// Whether `module.name` is data, or belongs to other software than Python itself.
pub(super) fn is_harmless(module: &str, name: &str) -> bool {
    let module = match module {
        "__builtin__" => "builtins",
        "copy_reg" => "copyreg",
        "pathlib._local" => "pathlib",
        "zoneinfo._common" => "zoneinfo",
        "_collections" => "collections",
        other => other,
    };
    if DATA.iter().any(|(known, names)| *known == module && names.contains(&name)) {
        return true;
    }
    // A name may lead through a module into another one: `torch.serialization`, `os.system`.
    let path = name.rsplit_once('.').map_or("", |(path, _)| path);
    let first = module.split('.').next().unwrap_or_default();
    !std::iter::once(first).chain(path.split('.')).any(is_standard)
}

fn is_standard(module: &str) -> bool {
    module.starts_with('_') && module != "__main__" && module != "__mp_main__"
        || STANDARD_LIBRARY.split(' ').any(|known| known == module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_run_code_are_told_from_data() {
        for (module, name) in [
            ("posix", "system"),
            ("nt", "system"),
            ("os", "popen"),
            ("os.path", "exists"),
            ("builtins", "eval"),
            ("builtins", "getattr"),
            ("__builtin__", "apply"),
            ("subprocess", "Popen"),
            ("_posixsubprocess", "fork_exec"),
            ("importlib", "import_module"),
            ("runpy", "run_path"),
            ("torch.serialization", "os.system"),
            ("torch", "serialization.os.system"),
            ("collections", "abc.sys.modules"),
            ("commands", "getoutput"),
            ("pathlib", "Path.unlink"),
            ("webbrowser", "open"),
        ] {
            assert!(!is_harmless(module, name), "{module}.{name}");
        }
        for (module, name) in [
            ("collections", "Counter"),
            ("__builtin__", "set"),
            ("pathlib._local", "PosixPath"),
            ("_codecs", "encode"),
            ("torch", "Size"),
            ("torch.optim.lr_scheduler", "MultiStepLR"),
            ("numpy.core.multiarray", "scalar"),
            ("omegaconf.dictconfig", "DictConfig"),
            ("__main__", "Config"),
            ("my_project.config", "Outer.Inner"),
        ] {
            assert!(is_harmless(module, name), "{module}.{name}");
        }
    }
}
