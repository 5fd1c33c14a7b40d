//! What of the environment counts: a variable that a program can read does, whoever hides how it is read; identifiers
//! of a job, directories in front and variables that nobody names do not.
//!
//! The truth is a plain run in the changed surroundings.

use crate::world::World;

/// What the second run of a command in other surroundings has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Hit,
    Miss,
    /// Whatever gives the right result.
    Right,
}

use Want::{Hit, Miss, Right};

/// Runs a command twice, then in changed surroundings, plain and under `xl`.
fn check(w: &mut World, name: &str, command: &str, env: &[(&str, String)], change: &str, want: Want) {
    let saved = w.env.clone();
    let words = ["sh", "-c", command];
    let first = w.xl_run("exec", &words);
    let again = w.xl_run("exec", &words);
    assert_eq!(first.stdout(), again.stdout(), "{name}");
    if want != Right {
        assert_eq!(again.pips("hit"), 1, "{name}: {}", again.story());
    }
    w.env.extend(env.iter().map(|(k, v)| ((*k).to_owned(), v.clone())));
    w.sh(change);
    let plain = w.command("sh").args(["-c", command]).output().expect("sh");
    let plain = String::from_utf8_lossy(&plain.stdout).into_owned();
    let last = w.xl_run("exec", &words);
    assert_eq!(last.stdout(), plain, "{name}: {}", last.story());
    match want {
        Hit => assert_eq!(last.pips("hit"), 1, "{name}: {}", last.story()),
        Miss => {
            assert_ne!(plain, first.stdout(), "{name}: this would bite nobody");
            assert_eq!(last.pips("hit"), 0, "{name}: {}", last.story());
        }
        Right => {}
    }
    w.env = saved;
}

fn set(name: &'static str, value: &str) -> [(&'static str, String); 1] {
    [(name, value.to_owned())]
}

/// A variable of each system that another commit changes.
const COMMITS: &[&str] = &[
    "GITHUB_SHA",
    "GITHUB_RUN_ID",
    "CI_COMMIT_SHA",
    "CI_PIPELINE_ID",
    "CI_JOB_ID",
    "BUILD_NUMBER",
    "BUILD_TAG",
    "GIT_COMMIT",
    "BUILDKITE_COMMIT",
    "CIRCLE_SHA1",
    "BUILD_SOURCEVERSION",
    "SYSTEM_JOBID",
    "BUILD_VCS_NUMBER",
    "DRONE_COMMIT_SHA",
    "BITBUCKET_COMMIT",
    "TRAVIS_COMMIT",
];

#[test]
fn identifiers_of_a_job() {
    let mut w = World::new();
    // It can read any variable, so that only the list tells.
    w.write("open.py", "import os\nprint(getattr(os, 'getcwd')() != '')\n");
    w.write("closed.py", "import sys\nprint('python')\n");
    w.write("p.pl", "print \"perl\\n\";\n");
    w.write("a.awk", "BEGIN { print \"awk\" }\n");
    w.write("s.sh", "for i in 1 2; do eval \"echo $i\"; done\n");
    w.write("g.c", "#include <stdio.h>\n#include <stdlib.h>\nint main() { puts(getenv(\"HOME\") ? \"c\" : \"\"); }\n");
    w.sh("gcc g.c -o g");
    let commands = [
        "/usr/bin/python3 -S -B open.py",
        "/usr/bin/python3 -S -B closed.py",
        "perl p.pl",
        "awk -f a.awk",
        "sh s.sh",
        "./g",
    ];
    for command in commands {
        let all: Vec<(&str, String)> = COMMITS.iter().map(|n| (*n, "0123".to_owned())).collect();
        check(&mut w, command, command, &all, ":", Hit);
    }
    for name in COMMITS {
        w.write("n.py", &format!("import os\nprint(getattr(os, 'environ').get('{name}'))\n"));
        w.write("n.pl", &format!("print $ENV{{{name}}} // 'none', \"\\n\";\n"));
        w.write("n.awk", &format!("BEGIN {{ print ENVIRON[\"{name}\"] \".\" }}\n"));
        w.write("n.sh", &format!("eval \"echo ${name}.\"\n"));
        for command in
            ["/usr/bin/python3 -S -B n.py", "perl n.pl", "awk -f n.awk", "sh n.sh", &format!("echo ${name}.")]
        {
            check(&mut w, &format!("{name}: {command}"), command, &set(name, "0123"), ":", Miss);
        }
    }
    w.write(
        "n.c",
        "#include <stdio.h>\n#include <stdlib.h>\nint main() { puts(getenv(\"GITHUB_SHA\") ? \"y\" : \"n\"); }\n",
    );
    w.sh("gcc n.c -o n");
    check(&mut w, "a program that names one", "./n", &set("GITHUB_SHA", "1"), ":", Miss);
    // Who goes through all of them, or computes their names.
    for (name, file, text, command) in [
        (
            "Python, all",
            "t1.py",
            "import os\nfor k in sorted(os.environ):\n  if k.endswith('_SHA'): print(k)\n",
            "/usr/bin/python3 -S -B t1.py",
        ),
        (
            "Python, computed",
            "t2.py",
            "import os\nprint(os.environ.get('GITHUB_' + 'SHA'))\n",
            "/usr/bin/python3 -S -B t2.py",
        ),
        (
            "Python, a variable",
            "t3.py",
            "import os, sys\nprint(os.getenv(sys.argv[1][::-1]))\n",
            "/usr/bin/python3 -S -B t3.py AHS_BUHTIG",
        ),
        ("Perl, all", "t1.pl", "print join(',', grep /_SHA/, sort keys %ENV), \"\\n\";\n", "perl t1.pl"),
        ("awk, all", "t1.awk", "BEGIN { for (k in ENVIRON) if (k ~ /_SHA/) print k }\n", "awk -f t1.awk"),
        ("env", "none", "", "env | grep _SHA; :"),
        ("env, quoted", "none", "", "e\"n\"v | grep _SHA; :"),
        ("printenv", "none", "", "printenv | grep _SHA; :"),
        (
            "a C program, all",
            "t1.c",
            "#include <stdio.h>\n#include <string.h>\nextern char **environ;\nint main() { for (char **e = environ; *e; e++) if (strstr(*e, \"_SHA\")) puts(*e); }\n",
            "./t1",
        ),
    ] {
        w.write(file, text);
        if file == "t1.c" {
            w.sh("gcc t1.c -o t1");
        }
        check(&mut w, name, command, &set("GITHUB_SHA", "0123"), ":", Miss);
    }
}

/// Programs that cannot read a variable that they do not name.
#[test]
fn what_a_program_cannot_read() {
    let mut w = World::new();
    w.write("c.py", "import os, sys, re, json, argparse\nimport helper\nprint(os.path.join('a', helper.NAME), os.environ.get('KNOWN', 'none'))\n");
    w.write("helper.py", "NAME = 'x'\n");
    w.write("s.sh", "#!/bin/sh\nset -e\nfor i in a b; do echo $i $KNOWN; done\n[ -f s.sh ] && echo there\n");
    w.write("e.sh", "#!/usr/bin/env bash\necho \"$KNOWN\"\n");
    w.write("x.py", "#!/usr/bin/python3 -SB\nimport os\nprint(os.getenv('KNOWN'))\n");
    w.write("a.awk", "{ print $1 }\n");
    w.write("in", "a b\n");
    w.write("g.c", "#include <stdio.h>\nint main(int n, char **v) { printf(\"%d\\n\", n); }\n");
    w.write("g.cc", "#include <iostream>\n#include <string>\n#include <fstream>\nint main() { std::ifstream f(\"in\"); std::string s; f >> s; std::cout << s << std::endl; }\n");
    w.sh("gcc g.c -o g; g++ -O2 g.cc -o gg; chmod +x s.sh e.sh x.py");
    let all = [
        "/usr/bin/python3 -S -B c.py",
        "sh s.sh",
        "./s.sh",
        "./e.sh",
        "./x.py",
        "awk -f a.awk in",
        "awk '{ print $2 }' in",
        "./g a",
        "./gg",
        "echo a; cat in",
    ];
    for command in all {
        check(&mut w, command, command, &set("UNRELATED", "1"), ":", Hit);
    }
    for command in ["/usr/bin/python3 -S -B c.py", "sh s.sh", "./s.sh", "./e.sh", "./x.py"] {
        check(&mut w, command, command, &set("KNOWN", "1"), ":", Miss);
    }
}

/// Whatever hides how it reads a variable. `FOO` is in no list.
#[test]
fn hidden_readers() {
    let mut w = World::new();
    w.write("names", "FOO\n");
    w.write("cmd", "set\n");
    w.write("lib.sh", "echo $FOO\n");
    w.write("mod.py", "import os\nV = os.environ.get('FO' + 'O')\n");
    w.sh("mkdir -p pkg; printf 'import os\\nV = {**os.environ}.get(\"FOO\")\\n' > pkg/__init__.py");
    w.sh("mkdir -p z; printf 'import os\\nV = dict(os.environ).get(\"FOO\")\\n' > z/zm.py; cd z; /usr/bin/python3 -c 'import zipfile; zipfile.ZipFile(\"../z.zip\", \"w\").write(\"zm.py\")'; rm zm.py");
    let shell = [
        "set | grep ^FOO=; :",
        "s''et | grep ^FOO=; :",
        "\\set | grep ^FOO=; :",
        "\"s\"et | grep ^FOO; :",
        "e''nv | grep ^FOO; :",
        "c=env; $c | grep ^FOO; :",
        "$(cat cmd) | grep ^FOO=; :",
        "eval \"$(cat cmd)\" | grep ^FOO=; :",
        ". ./lib.sh",
        "read n < names; eval echo \\$$n",
        "export -p | grep FOO; :",
        "export | grep FOO; :",
        "command set | grep ^FOO=; :",
        "f() { set; }; f | grep ^FOO=; :",
        "trap \"set | grep ^FOO=\" EXIT; trap - INT",
        "alias q=set; \nq | grep ^FOO=; :",
        "cat <<E\n$(set | grep ^FOO=)\nE",
        "`cat cmd` | grep ^FOO=; :",
        "(set) | grep ^FOO=; :",
        "if :; then set; fi | grep ^FOO=; :",
        "X=1 set | grep ^FOO=; :",
        "command env | grep ^FOO; :",
        "exec env | grep FOO; :",
        "/usr/bin/env | grep ^FOO; :",
        "env sh -c 'echo $FOO'",
        "sh -c 'echo $FOO'",
        "echo 'echo $FOO' | sh",
        "sh lib.sh",
        "sh < lib.sh",
        "awk 'BEGIN { print ENVIRON[\"FO\" \"O\"] \".\" }'",
        "cat /proc/self/environ | tr '\\0' '\\n' | grep ^FOO; :",
        "x=/proc/self; cat $x/environ | tr '\\0' '\\n' | grep ^FOO; :",
        "awk 'BEGIN { while ((getline l < \"/proc/self/environ\") > 0) print l }' | tr '\\0' '\\n' | grep -a ^FOO; :",
        "awk 'BEGIN { \"echo $FOO\" | getline x; print x \".\" }'",
        "perl -e 'print $ENV{\"FO\" . \"O\"}, \".\\n\"'",
        "printf '%s\\n' \"${FOO-none}\"",
        "echo ${FOO+set}",
        "echo \"a${FOO:-b}\"",
        "cat <<E\n$FOO\nE",
        "xargs -n1 printenv < names; :",
        "make -s -f - <<'E'\nall:\n\t@echo $(FOO).\nE",
    ];
    let bash = [
        "n=FOO; echo ${!n}",
        "n=FO; echo ${!n*}",
        "f() { local -n r=FOO; echo $r; }; f",
        "declare -p FOO 2>/dev/null; :",
        "[[ -v FOO ]] && echo y; :",
        "test -v FOO && echo y; :",
        "x='-v FOO -o z'; [ $x = y ] && echo y; :",
        "echo $((FOO + 1))",
        "n=FOO; echo $((n))",
        "read n < names; echo $((n))",
        "s=abcdef; echo ${s:FOO}",
        "a=(1 2 3); echo ${a[FOO]}",
        "compgen -v | grep FOO; :",
        "printf -v a[FOO] x; echo ${!a[@]}",
        "let x=FOO+1; echo $x",
        "$'se\\x74' | grep ^FOO=; :",
        "p='\\u'; n=FOO; echo ${n@P}; echo ${!n}",
        "cat <(set | grep ^FOO=)",
        "source lib.sh",
        "builtin set | grep ^FOO=; :",
        "a='$FOO'; echo ${a@P}",
        "typeset -p FOO 2>/dev/null; :",
        "while [[ FOO -gt 0 ]]; do echo y; break; done; :",
        "mapfile -C 'eval echo $FOO #' -c 1 x < names; :",
        "export -n FOO; echo $FOO",
        "unset x; echo $[FOO]",
    ];
    let python = [
        "import os; print(os.environ.get('FOO'))",
        "import os; print([k for k in sorted(os.environ) if k[0] == 'F'])",
        "import os; print(os.environ['F' 'O' 'O'] if 'F' 'OO' in os.environ else 1)",
        "import os; print(getattr(os, 'envi' + 'ron').get('FOO'))",
        "import os; print(vars(os)['environ'].get('FOO'))",
        "import os; print(os.__dict__['environ'].get('FOO'))",
        "from os import *; print(getenv('FOO'))",
        "from os import environ as e; print(e.get('FOO'))",
        "import os as o; print(o.environ.get('FOO'))",
        "exec('import os; print(os.getenv(\"FOO\"))')",
        "print(eval('__import__(\"os\").environ.get(\"FOO\")'))",
        "print(__import__('os').environ.get('FOO'))",
        "import importlib; print(importlib.import_module('o' + 's').environ.get('FOO'))",
        "import sys, os; print(sys.modules['o' + 's'].environ.get('FOO'))",
        "import posix; print(posix.environ.get(b'FOO'))",
        "import os; print('{0.environ}'.format(os).count('FOO'))",
        "import os; f = '{0.envi' + 'ron}'; print(f.format(os).count('FOO'))",
        "import os; print(f'{os.environ}'.count('FOO'))",
        "import os; print(os.environb.get(b'FOO'))",
        "import os; print(os.path.expandvars('$FO' + '{}'.format('O')))",
        "import mod; print(mod.V)",
        "import pkg; print(pkg.V)",
        "import sys; sys.path.insert(0, 'z.zip'); import zm; print(zm.V)",
        "print(open('/proc/self/environ').read().count('FOO='))",
        "import os; print(open('/proc/thread-self/environ').read().count('FOO='))",
        "import glob; print(open(glob.glob('/proc/self/task/*/environ')[0]).read().count('FOO='))",
        "import subprocess; print(subprocess.run(['printenv', 'FOO'], stdout=-1).stdout)",
        "import os; os.system('echo $FOO')",
        "import os; print(os.popen('echo $FOO').read())",
        "import subprocess; print(subprocess.check_output('set | grep ^FOO=; :', shell=True))",
        "import ctypes; print(ctypes.CDLL(None).getenv(b'FOO') != 0)",
        "import os; n = open('names').read().strip(); print(os.environ.get(n))",
        "import os; print(os.ｅnviron.get('FOO'))",
        "import operator, os; print(operator.attrgetter('environ')(os).get('FOO'))",
        "import os; print((lambda: 0).__globals__['os'].environ.get('FOO'))",
        "import runpy; print(runpy.run_path('mod.py')['V'])",
        "import os; match_ = [k for k in os.environ if k.startswith('FO')]; print(match_)",
        "import os, json; print(json.dumps(dict(os.environ)).count('FOO'))",
        "import string, os; print(string.Template('$FOO').safe_substitute(os.environ))",
        "import os; e = os.environ; print(e.get('FOO'))",
        "import os; print(os.environ.get(*['FOO']))",
        "import code; code.InteractiveInterpreter().runsource('import os; print(os.getenv(\"FOO\"))')",
    ];
    for text in shell {
        check(&mut w, text, text, &set("FOO", "3"), ":", Right);
    }
    for text in bash {
        w.write("b.sh", &format!("{text}\n"));
        let direct = format!("bash -c '{}'", text.replace('\'', "'\\''"));
        check(&mut w, text, &direct, &set("FOO", "2"), ":", Right);
        check(&mut w, text, "bash b.sh", &set("FOO", "2"), ":", Right);
    }
    for text in python {
        w.write("p.py", &format!("{text}\n"));
        check(&mut w, text, "/usr/bin/python3 -S -B p.py", &set("FOO", "3"), ":", Right);
        check(
            &mut w,
            text,
            &format!("/usr/bin/python3 -S -B -c '{}'", text.replace('\'', "'\\''")),
            &set("FOO", "3"),
            ":",
            Right,
        );
    }
}

/// Programs whose imports tell what they read, and which load others.
#[test]
fn compiled_programs() {
    let mut w = World::new();
    let head = "#define _GNU_SOURCE\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>\n#include <dlfcn.h>\n#include <wordexp.h>\n#include <spawn.h>\n";
    w.write(
        "l.c",
        "#include <stdlib.h>\nconst char *of(void) { char *s = getenv(\"FOO\"); return s ? s : \"none\"; }\n",
    );
    w.sh("gcc -shared -fPIC l.c -o libl.so");
    for (name, body, flags) in [
        ("getenv", "char *s = getenv(\"FOO\"); puts(s ? s : \"none\");", ""),
        ("secure_getenv", "char *s = secure_getenv(\"FOO\"); puts(s ? s : \"none\");", ""),
        ("environ", "for (char **e = environ; *e; e++) if (!strncmp(*e, \"FO\", 2)) puts(*e);", ""),
        ("static", "char n[4] = {70, 79, 79}; char *s = getenv(n); puts(s ? s : \"none\");", "-static"),
        ("system", "fflush(stdout); system(\"echo $FOO\");", ""),
        ("execlp", "execlp(\"printenv\", \"printenv\", \"FOO\", NULL);", ""),
        (
            "dlsym",
            "char *(*g)(const char *) = dlsym(RTLD_DEFAULT, \"getenv\"); char *s = g(\"FOO\"); puts(s ? s : \"none\");",
            "-ldl",
        ),
        (
            "dlopen",
            "void *h = dlopen(\"./libl.so\", RTLD_NOW); const char *(*g)(void) = dlsym(h, \"of\"); puts(g());",
            "-ldl",
        ),
        ("a library", "extern const char *of(void); puts(of());", "-L. -ll -Wl,-rpath,."),
        ("wordexp", "wordexp_t p; wordexp(\"$FOO\", &p, 0); puts(p.we_wordc ? p.we_wordv[0] : \"none\");", ""),
        ("a third parameter", "for (; *e; e++) if (!strncmp(*e, \"FOO=\", 4)) puts(*e);", ""),
        (
            "/proc",
            "char b[65536]; FILE *f = fopen(\"/proc/self/environ\", \"r\"); int m = fread(b, 1, sizeof b, f); for (char *p = b; p < b + m; p += strlen(p) + 1) if (!strncmp(p, \"FO\", 2)) puts(p);",
            "",
        ),
        ("tempnam", "puts(tempnam(NULL, \"x\") ? \"y\" : \"n\");", "-w"),
    ] {
        w.write("t.c", &format!("{head}int main(int n, char **v, char **e) {{ {body} return 0; }}\n"));
        w.sh(&format!("gcc -w t.c -o t {flags}"));
        check(&mut w, name, "./t", &set("FOO", "3"), ":", Right);
    }
}

/// Directories in which nothing is, or nothing that was sought, in front of a list.
#[test]
fn directories_in_front() {
    let mut w = World::new();
    let root = w.tree().to_str().expect("text").to_owned();
    // The world has none of the loader's list that cargo gives to tests.
    let old = |n: &str| if n == "LD_LIBRARY_PATH" { String::new() } else { std::env::var(n).unwrap_or_default() };
    let front = |n: &'static str, dir: &str| {
        let rest = old(n);
        let rest = if rest.is_empty() { rest } else { format!(":{rest}") };
        [(n, format!("{root}/{dir}{rest}"))]
    };
    w.sh("mkdir -p empty others bin inc lib lib2; printf '#!/bin/sh\\necho other\\n' > others/none-such; chmod +x others/none-such");
    w.write("a.c", "#include <stdio.h>\n#include <limits.h>\nint main(void) { return CHAR_BIT; }\n");
    let compile = "gcc -c a.c -o a.o; od -c a.o";
    let script = "cat a.c | wc -l; printf 'x\\n' | sed s/x/y/";
    w.write("s.sh", "#!/bin/sh\ncat a.c | wc -l\n");
    w.sh("chmod +x s.sh");
    for command in [compile, script, "./s.sh", "sh s.sh"] {
        for dir in ["empty", "missing", "others"] {
            check(&mut w, &format!("PATH, {dir}: {command}"), command, &front("PATH", dir), ":", Hit);
        }
        for n in ["CPATH", "C_INCLUDE_PATH", "LIBRARY_PATH", "COMPILER_PATH", "LD_LIBRARY_PATH"] {
            for dir in ["empty", "missing"] {
                check(&mut w, &format!("{n}, {dir}: {command}"), command, &front(n, dir), ":", Hit);
            }
        }
    }
    // What was sought is there.
    let wc = "printf '#!/bin/sh\\necho mine\\n' > bin/wc; chmod +x bin/wc";
    check(&mut w, "a command", script, &front("PATH", "bin"), wc, Miss);
    w.sh("rm bin/*");
    let limits = "echo '#define CHAR_BIT 77' > inc/limits.h";
    for n in ["CPATH", "C_INCLUDE_PATH"] {
        check(&mut w, n, compile, &front(n, "inc"), limits, Miss);
        w.sh("rm inc/*");
    }
    let assembler = "printf '#!/bin/sh\\nexec /usr/bin/as --defsym q=1 \"$@\"\\n' > bin/as; chmod +x bin/as";
    check(&mut w, "COMPILER_PATH", compile, &front("COMPILER_PATH", "bin"), assembler, Right);
    w.sh("rm bin/*");
    w.write("l.c", "int l(void) { return 1; }\n");
    w.write("l2.c", "int l(void) { return 2; }\n");
    w.write("m.c", "#include <stdio.h>\nint l(void); int main(void) { printf(\"%d\\n\", l()); return 0; }\n");
    w.sh("gcc -shared -fPIC l.c -o lib/libl.so; gcc -shared -fPIC l2.c -o libl2.so; gcc m.c -o m -Llib -ll -Wl,-rpath,$PWD/lib -Wl,--disable-new-dtags; gcc m.c -o m2 -Llib -ll");
    let both = [("LD_LIBRARY_PATH", format!("{root}/lib"))];
    w.env.extend(both.iter().map(|(k, v)| ((*k).to_owned(), v.clone())));
    let two = [("LD_LIBRARY_PATH", format!("{root}/lib2:{root}/lib"))];
    check(&mut w, "an empty directory of libraries", "./m2", &two, ":", Hit);
    check(&mut w, "a library", "./m2", &two, "cp libl2.so lib2/libl.so", Miss);
    w.env.remove("LD_LIBRARY_PATH");
    // A list that is shown counts by its text.
    for command in [
        "echo $PATH",
        "env | grep ^PATH=",
        "/usr/bin/python3 -S -B -c 'import os; print(os.environ[\"PATH\"])'",
        "command -v wc; echo \"${PATH}\"",
    ] {
        check(&mut w, command, command, &front("PATH", "empty"), ":", Miss);
    }
    check(&mut w, "gcc -v", "gcc -v -c a.c 2>&1 | grep -c empty; :", &front("CPATH", "empty"), ":", Right);
    check(&mut w, "gcc -print-search-dirs", "gcc -print-search-dirs", &front("COMPILER_PATH", "empty"), ":", Miss);
    check(&mut w, "gcc -print-search-dirs", "gcc -print-search-dirs", &front("LIBRARY_PATH", "empty"), ":", Miss);
    w.write("opts", "-v\n");
    check(&mut w, "gcc @opts", "gcc @opts -c a.c 2>&1 | grep -c empty; :", &front("CPATH", "empty"), ":", Right);
    // What depends on where the searcher stands.
    w.sh("mkdir -p sub; printf '#!/bin/sh\\necho sub\\n' > sub/wc; chmod +x sub/wc; mkdir -p sub/inc; echo '#define CHAR_BIT 9' > sub/inc/limits.h");
    for path in ["", ".", "inc"] {
        let p = [("PATH", format!("{path}:{}", old("PATH")))];
        check(&mut w, "a relative element of PATH", "cd sub; wc -l < ../a.c", &p, ":", Right);
        let p = [("CPATH", path.to_owned())];
        check(&mut w, "a relative element of CPATH", "cd sub; gcc -c ../a.c -o ../b.o; od -c ../b.o", &p, ":", Right);
    }
    check(&mut w, "an empty CPATH", compile, &[("CPATH", String::new())], ":", Right);
}
