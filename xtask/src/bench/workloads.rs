//! Builds that nobody here wrote, for the benchmark and for the long tests. Sources come from Debian's archive (`examples/fetch.sh`).

/// A build: Debian's source package, how it is configured, how it is built, which files of it two plain builds make differently.
pub struct Workload {
    pub name: &'static str,
    pub package: &'static str,
    pub configure: &'static str,
    pub build: &'static str,
    /// Asks the build tool whether there is something left to do; after some builds there always is.
    #[allow(dead_code, reason = "the long tests ask, the benchmark does not")]
    pub idle: &'static str,
}

pub const WORKLOADS: &[Workload] = &[
    Workload { name: "lua", package: "lua5.4", configure: ":", build: "make -j2 CC=\"$CC\" linux", idle: "make -q linux" },
    Workload { name: "bzip2", package: "bzip2", configure: ":", build: "make -j2 CC=\"$CC\"", idle: "make -q bzip2" },
    Workload {
        name: "yaml-cpp",
        package: "yaml-cpp",
        configure: "cmake -G Ninja -S . -B build -DCMAKE_BUILD_TYPE=Debug -DYAML_CPP_BUILD_TESTS=OFF -DYAML_CPP_BUILD_TOOLS=ON -DYAML_BUILD_SHARED_LIBS=ON",
        build: "ninja -C build -j2",
        idle: "ninja -C build -n | grep 'no work to do'",
    },
    Workload {
        name: "wayland",
        package: "wayland",
        configure: "meson setup build -Ddocumentation=false -Ddtd_validation=false",
        build: "ninja -C build -j2",
        idle: "ninja -C build -n | grep 'no work to do'",
    },
    Workload {
        name: "jq",
        package: "jq",
        configure: "autoreconf -fi && ./configure --enable-maintainer-mode --disable-docs --disable-valgrind && touch src/parser.y src/lexer.l",
        build: "make -j2",
        idle: "make -q jq",
    },
    Workload {
        name: "busybox",
        package: "busybox",
        configure: "KCONFIG_NOTIMESTAMP=1 make defconfig",
        build: "KCONFIG_NOTIMESTAMP=1 make -j2",
        idle: "make -q",
    },
];
