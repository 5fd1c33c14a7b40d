//! Projects with a fault whose makefiles and manifests a program wrote: the printed repair is for the file that a
//! person wrote, names what is there, and is one that builds.

use crate::audit::{audit, found, list, set, text};
use crate::kinds::{FAULT, Fault, PRINTED, try_one};
use crate::world::{World, skip};
use std::path::Path;

fn has(tool: &str) -> bool {
    let found = std::process::Command::new("sh").args(["-c", &format!("command -v {tool}")]).output();
    let found = found.is_ok_and(|o| o.status.success());
    if !found {
        skip(&format!("{tool} is not installed"));
    }
    found
}

fn all(faults: &[Fault]) {
    faults.iter().for_each(|f| try_one(f, Path::new("/nowhere"), 0));
}

/// A list that two custom commands and a program lack something of.
const CMAKE: &str = "mkdir sub b; touch a.in extra.in sub/x sub/y; echo '#define A 0' > gen.in
    printf '#include \"gen.h\"\\nint main(void) { return A; }\\n' > m.c
    printf 'cmake_minimum_required(VERSION 3.10)\\nproject(p C)\\nadd_subdirectory(sub)
        add_custom_command(OUTPUT out.txt\\n COMMAND cat ${CMAKE_SOURCE_DIR}/a.in ${CMAKE_SOURCE_DIR}/%s > out.txt
        DEPENDS a.in)\\nadd_custom_target(txt ALL DEPENDS out.txt)\\n' $EXTRA > CMakeLists.txt
    printf 'add_custom_command(OUTPUT lst COMMAND cat ${CMAKE_CURRENT_SOURCE_DIR}/x ${CMAKE_SOURCE_DIR}/%s > lst
        DEPENDS x)\\nadd_custom_target(lstt ALL DEPENDS lst)\\n' $EXTRA > sub/CMakeLists.txt";

/// A program that includes what a target makes for which it does not wait.
const GENERATES: &str = "sed -i 's/extra.in/a.in/' CMakeLists.txt sub/CMakeLists.txt
    sed -i 's/DEPENDS x/DEPENDS x ..\\/a.in/' sub/CMakeLists.txt
    printf 'add_custom_command(OUTPUT gen.h COMMAND cp ${CMAKE_SOURCE_DIR}/gen.in gen.h DEPENDS \
    gen.in)\\nadd_custom_target(gen ALL DEPENDS gen.h)\\nadd_executable(m m.c)\\n\
    target_include_directories(m PRIVATE ${CMAKE_BINARY_DIR})\\n' >> CMakeLists.txt";

/// A program that is linked by a list of symbols.
const LINKED: &str = "echo 'int main(void) { return 0; }' > m.c; echo '{ global: main; };' > v.map
    printf 'cmake_minimum_required(VERSION 3.10)\nproject(p C)\nadd_executable(m m.c)\ntarget_link_libraries(m \
    PRIVATE \"-Wl,--version-script=${CMAKE_SOURCE_DIR}/v.map\")\n' > CMakeLists.txt";

#[test]
fn makefiles_of_automake() {
    if !has("automake") {
        return;
    }
    all(&[Fault {
        code: "XL001",
        setup: "printf 'AC_INIT([p],[1])\nAM_INIT_AUTOMAKE([foreign])\nAC_PROG_CC\n\
            AC_CONFIG_FILES([Makefile])\nAC_OUTPUT\n' > configure.ac
            printf 'bin_PROGRAMS = p\np_SOURCES = m.c\nnoinst_DATA = out.txt\nout.txt: a.in\n\tcat $(srcdir)/a.in \
            $(srcdir)/extra.in > out.txt\n' > Makefile.am
            echo 'int main(void) { return 0; }' > m.c; touch a.in extra.in",
        configure: "autoreconf -fi && ./configure",
        build: &["make", "-j8"],
        finds: &["XL001 out.txt extra.in"],
        bites: "touch -d '+1 hour' extra.in; make -q",
        repair: PRINTED,
        proven: true,
        ..FAULT
    }]);
}

#[test]
fn lists_of_cmake() {
    if !has("cmake") {
        return;
    }
    let build: [&'static [&'static str]; 2] = [&["make", "-C", "b", "-j1"], &["ninja", "-C", "b", "-j1"]];
    for (generator, build) in ["Unix Makefiles", "Ninja"].into_iter().zip(build) {
        let setup = |more: &str| -> (&'static str, &'static str) {
            // ninja comes to the program first; it has what an earlier build left.
            let earlier =
                if generator == "Ninja" && more.contains("gen.h") { "ninja -C b gen; rm b/.ninja_log" } else { "" };
            let of = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
            (of(format!("EXTRA=extra.in\n{CMAKE}\n{more}")), of(format!("cmake -S . -B b -G '{generator}'\n{earlier}")))
        };
        all(&[
            Fault {
                code: "XL001",
                setup: setup("").0,
                configure: setup("").1,
                build,
                finds: &["XL001 b/out.txt extra.in", "XL001 b/sub/lst extra.in"],
                bites: "touch -d '+1 hour' extra.in; cmake --build b; test extra.in -nt b/out.txt",
                repair: PRINTED,
                proven: true,
                ..FAULT
            },
            // A target that another one has to wait for; by its name it comes first.
            Fault {
                code: "XL002",
                setup: setup(GENERATES).0,
                configure: setup(GENERATES).1,
                build,
                finds: &["XL002 b/CMakeFiles/m.dir/m.c.o b/gen.h"],
                bites: "cmake --build b --target clean; rm -f b/.ninja_*; ! cmake --build b --target m",
                repair: PRINTED,
                ..FAULT
            },
            Fault {
                code: "XL001",
                setup: LINKED,
                configure: setup("").1,
                build,
                finds: &["XL001 b/m v.map"],
                bites: "touch -d '+1 hour' v.map; cmake --build b; test v.map -nt b/m",
                repair: PRINTED,
                proven: true,
                ..FAULT
            },
        ]);
    }
}

/// A repair with which a fresh build fails: nobody is told of it.
#[test]
fn repairs_that_do_not_hold() {
    let w = World::new();
    w.write("Makefile", "all: a b\na: in\n\tcat in more > a\nb: in\n\tcat in more > b\n.PHONY: all\n");
    w.sh("touch in more");
    let fixes = || -> Vec<String> {
        let (_, report) = audit(&w, &[], &["make", "-B"]);
        let all = list(&report["violations"]);
        assert_eq!(all.len(), 2, "{report:#}");
        all.iter().filter(|v| !v["fix"].is_null()).map(|v| text(&v["fix"], "text").to_owned()).collect()
    };
    assert_eq!(fixes(), ["a: more", "b: more"]);
    // A makefile that refuses rules for `b` but its own.
    w.write(
        "Makefile",
        "all: a b\na: in\n\tcat in more > a\nb: in\n\tcat in more > b\n.PHONY: all\nifneq ($(shell grep -c '^b: more' \
         Makefile),0)\n$(error no)\nendif\n",
    );
    assert_eq!(fixes(), ["a: more"]);
}

#[test]
fn lists_of_meson() {
    if !has("meson") {
        return;
    }
    all(&[Fault {
        code: "XL001",
        setup: "mkdir sub; touch a.in extra.in; printf \"project('p')\nsubdir('sub')\n\" > meson.build
            printf \"custom_target('txt', input: '../a.in', output: 'out.txt', build_by_default: true, capture: true,
            command: ['cat', '@INPUT@', meson.project_source_root() / 'extra.in'])\n\" > sub/meson.build",
        configure: "meson setup b",
        build: &["ninja", "-C", "b", "-j1"],
        finds: &["XL001 b/sub/out.txt extra.in"],
        bites: "touch -d '+1 hour' extra.in; ninja -C b | grep 'no work'",
        repair: PRINTED,
        proven: true,
        ..FAULT
    }]);
}

/// Headers that are copied into the build tree, by a target of their own, after a library, and under a stamp.
#[test]
fn copies_that_are_left_alone() {
    if !has("cmake") {
        return;
    }
    for generator in ["Unix Makefiles", "Ninja"] {
        let w = World::new();
        let copy = "COMMAND ${CMAKE_COMMAND} -E copy_if_different ${CMAKE_SOURCE_DIR}/src";
        w.write(
            "CMakeLists.txt",
            &format!(
                "cmake_minimum_required(VERSION 3.10)\nproject(p C)\nset(I ${{CMAKE_BINARY_DIR}}/include)
                add_custom_target(headers ALL COMMAND ${{CMAKE_COMMAND}} -E make_directory ${{I}} {copy}/a.h ${{I}}/a.h)
                add_executable(m src/m.c)\ntarget_include_directories(m PRIVATE ${{I}})\nadd_dependencies(m headers)
                add_library(l STATIC src/l.c)\nadd_dependencies(l headers)
                set_property(SOURCE src/l.c PROPERTY OBJECT_DEPENDS ${{CMAKE_SOURCE_DIR}}/src/l.h)
                add_custom_command(TARGET l POST_BUILD {copy}/l.h ${{I}}/l.h)
                add_custom_command(OUTPUT st {copy}/b.h ${{I}}/b.h COMMAND touch st DEPENDS src/b.h)
                add_custom_target(bh ALL DEPENDS st)\nadd_dependencies(bh headers)\n"
            ),
        );
        let out = w.sh(&format!(
            "mkdir src; echo '#define A 0' > src/a.h; touch src/b.h src/l.h; echo 'int l;' > src/l.c
            printf '#include \"a.h\"\\nint main(void) {{ return A; }}\\n' > src/m.c; cmake -S . -B b -G '{generator}'"
        ));
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        for touched in ["true", "touch src/a.h src/b.h src/l.c", "echo >> src/b.h; echo >> src/l.h; touch src/l.c"] {
            w.sh(touched);
            let (_, report) = audit(&w, &[], &["cmake", "--build", "b", "-j8"]);
            let copied = set(&[
                "XL004 b/CMakeFiles/headers b/include/a.h",
                "XL004 b/libl.a b/include/l.h",
                "XL004 b/st b/include/b.h",
                // What the copy after the library needs, the object has to name: an archive is not linked.
                "XL012 b/CMakeFiles/l.dir/src/l.c.o src/l.h",
            ]);
            let more: Vec<String> =
                found(&report, &["error", "warning", "note"]).difference(&copied).cloned().collect();
            assert!(more.is_empty(), "{generator}, {touched}: {more:?} {report:#}");
            assert!(list(&report["gaps"]).is_empty() && report["exit_code"] == 0, "{report:#}");
        }
    }
}

/// A group of commands that is no file: said of its own command, and not of what a make below it runs.
#[test]
fn names_of_groups() {
    let w = World::new();
    w.write("Makefile", "all: all-sub o\n\techo ok\nall-sub:\n\tcd sub && $(MAKE) all\no:\n\ttouch o\n");
    w.write("sub/Makefile", "all: all\n\t@:\nall: x\nx:\n\ttouch x\n");
    let (_, report) = audit(&w, &[], &["make", "-j8"]);
    let said: Vec<String> = list(&report["violations"])
        .iter()
        .map(|v| format!("{} {}: {}", text(v, "code"), text(v, "target"), text(&v["pip"], "command")))
        .collect();
    assert_eq!(said, ["XL005 all: echo ok", "XL005 all-sub: cd sub && make all"], "{report:#}");
}
