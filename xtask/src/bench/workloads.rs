//! Builds that nobody here wrote, for the benchmark and for the long tests. Sources are fetched by `examples/fetch.sh`.

/// A build: what `examples/fetch.sh` calls it, how it is configured and built, and what two plain builds of it make
/// differently.
pub(super) struct Workload {
    pub name: &'static str,
    pub package: &'static str,
    pub configure: &'static str,
    pub build: &'static str,
    /// Asks the build tool whether there is something left to do; after some builds there always is.
    #[allow(dead_code, reason = "the long tests ask, the benchmark does not")]
    pub idle: &'static str,
    /// Removes what was built, and configures again.
    #[allow(dead_code, reason = "as above")]
    pub anew: &'static str,
    /// Names of files that two plain builds make differently: times, process numbers, orders of parallel writers.
    #[allow(dead_code, reason = "as above")]
    pub volatile: &'static [&'static str],
}

pub(super) const WORKLOADS: &[Workload] = &[
    Workload {
        name: "lua",
        package: "lua5.4",
        configure: ":",
        build: "make -j2 CC=\"$CC\" linux",
        idle: "make -q linux",
        anew: "make clean",
        volatile: &[],
    },
    Workload {
        name: "bzip2",
        package: "bzip2",
        configure: ":",
        build: "make -j2 CC=\"$CC\"",
        idle: "make -q bzip2",
        anew: "make clean",
        volatile: &[],
    },
    Workload {
        name: "yaml-cpp",
        package: "yaml-cpp",
        configure: "cmake -G Ninja -S . -B build -DCMAKE_BUILD_TYPE=Debug -DYAML_CPP_BUILD_TESTS=OFF \
            -DYAML_CPP_BUILD_TOOLS=ON -DYAML_BUILD_SHARED_LIBS=ON",
        build: "ninja -C build -j2",
        idle: "ninja -C build -n | grep 'no work to do'",
        anew: "ninja -C build -t clean && cmake -G Ninja -S . -B build -DCMAKE_BUILD_TYPE=Debug \
            -DYAML_CPP_BUILD_TESTS=OFF -DYAML_CPP_BUILD_TOOLS=ON -DYAML_BUILD_SHARED_LIBS=ON",
        volatile: &[".ninja_log", ".ninja_deps", "CMakeOutput.log"],
    },
    Workload {
        name: "wayland",
        package: "wayland",
        configure: "meson setup build -Ddocumentation=false -Ddtd_validation=false",
        build: "ninja -C build -j2",
        idle: "ninja -C build -n | grep 'no work to do'",
        anew: "ninja -C build -t clean && meson setup --reconfigure build",
        volatile: &[".ninja_log", ".ninja_deps", "meson-log.txt"],
    },
    Workload {
        name: "jq",
        package: "jq",
        configure: "autoreconf -fi && ./configure --enable-maintainer-mode --disable-docs --disable-valgrind && touch \
            src/parser.y src/lexer.l",
        build: "make -j2",
        idle: "make -q jq",
        anew: "make clean && cp -a ../pristine/src/parser.[ch] ../pristine/src/lexer.[ch] src && ./configure \
            --enable-maintainer-mode --disable-docs --disable-valgrind && touch src/parser.y src/lexer.l",
        volatile: &["config.log", "requests"],
    },
    Workload {
        name: "busybox",
        package: "busybox",
        configure: "KCONFIG_NOTIMESTAMP=1 make defconfig",
        build: "KCONFIG_NOTIMESTAMP=1 make -j2",
        idle: "make -q",
        anew: "make clean && KCONFIG_NOTIMESTAMP=1 make defconfig",
        volatile: &[],
    },
    Workload {
        name: "fd",
        package: "crate:fd-find@10.2.0",
        configure: ":",
        build: "CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0 cargo build --offline --locked -j2",
        idle: "! CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0 cargo build --offline --locked 2>&1 | grep Compiling",
        anew: "cargo clean --offline",
        // One of its build scripts configures and makes a C library; what cargo knows of rustc is a hash table of its.
        volatile: &["config.log", "output", "dep-bin-fd", ".rustc_info.json"],
    },
];
