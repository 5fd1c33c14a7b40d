//! The languages of scripts: how their files end, and by which words they ask for time and chance.
//!
//! Who runs a language is told by the rows of the table ([`super::Tool::runs`]); the search for the words is the
//! business of [`crate::scripts`].

/// A language: how its files end, and its words for time and chance.
#[derive(Debug)]
pub struct Language {
    pub(crate) endings: &'static [&'static str],
    pub(crate) words: &'static [&'static str],
    /// Its scripts have variables that ask, besides.
    pub(crate) is_shell: bool,
    /// `string(TIMESTAMP …)` and the like ask, besides.
    pub(crate) is_cmake: bool,
    /// Its random numbers follow a seed that it is given.
    pub(crate) may_be_seeded: bool,
}

impl PartialEq for Language {
    /// There is one value of each.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

/// All languages.
pub(crate) static ALL: [&Language; 11] =
    [&SHELL, &PYTHON, &PERL, &RUBY, &AWK, &MAWK, &CMAKE, &JAVASCRIPT, &TCL, &LUA, &PHP];

const NONE: Language = Language { endings: &[], words: &[], is_shell: false, is_cmake: false, may_be_seeded: false };

/// Its variables are another matter: [`Language::is_shell`].
pub(crate) static SHELL: Language =
    Language { endings: &[".sh"], words: &[" -ef ", "[ -N ", "test -N "], is_shell: true, ..NONE };

pub(crate) static PYTHON: Language = Language {
    endings: &[".py"],
    words: &[
        ".now(",
        ".today(",
        ".utcnow(",
        "time.time(",
        "time.time_ns(",
        "time.localtime()",
        "time.gmtime()",
        "time.ctime()",
        "time.strftime(",
        "uuid1(",
        "uuid4(",
        "from time import",
        "from random import",
        "random.random(",
        "random.rand",
        "random.choice",
        "random.shuffle(",
        "random.sample(",
        "random.uniform(",
        "random.gauss(",
        "random.getrandbits(",
        "random.Random()",
        "asctime()",
        "formatdate(",
        "os.urandom(",
        "secrets.",
        "getloadavg(",
        "statvfs(",
        "disk_usage(",
        "st_ctime",
        "st_atime",
        "st_ino",
        "st_blocks",
        "getctime(",
        "getatime(",
    ],
    ..NONE
};

pub(crate) static PERL: Language = Language {
    endings: &[".pl", ".pm"],
    words: &[
        "localtime",
        "gmtime",
        "time()",
        "= time;",
        "print time",
        "rand(",
        "rand;",
        "rand ",
        "-M $",
        "-M \"",
        "-M '",
    ],
    ..NONE
};

pub(crate) static RUBY: Language =
    Language { endings: &[".rb"], words: &["Time.now", "Date.today", "DateTime.now", "rand(", "SecureRandom"], ..NONE };

pub(crate) static AWK: Language = Language { endings: &[".awk"], words: &["systime(", "srand()", "strftime("], ..NONE };

/// It seeds itself (mawk(1), `srand`).
pub(crate) static MAWK: Language =
    Language { endings: &[".awk"], words: &["systime(", "rand()", "strftime("], may_be_seeded: true, ..NONE };

/// Its commands go over lines, so that words do not find them.
pub(crate) static CMAKE: Language =
    Language { endings: &[".cmake", "CMakeLists.txt"], words: &[], is_cmake: true, ..NONE };

pub(crate) static JAVASCRIPT: Language = Language {
    endings: &[".js", ".mjs", ".cjs"],
    words: &["Date.now(", "new Date()", "Math.random(", "ctime", "atime", "birthtime", "statfs"],
    ..NONE
};

pub(crate) static TCL: Language =
    Language { endings: &[".tcl"], words: &["clock seconds", "clock format", "rand()"], ..NONE };

pub(crate) static LUA: Language =
    Language { endings: &[".lua"], words: &["os.time()", "os.date(", "os.clock(", "math.random("], ..NONE };

pub(crate) static PHP: Language =
    Language { endings: &[".php"], words: &["time()", "date(", "rand(", "uniqid("], ..NONE };
