//! Tells who wrote a build file, a person or a generator, and which names in it are the generator's own business.

use crate::declared::Driver;
use crate::frontend::Tool;
use crate::paths::{os_path, parent};
use cache::PathBytes;
use worker::tools::base_name;

/// Who wrote the build file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Author {
    Person,
    Cmake,
    Meson,
}

pub(super) fn author(d: &Driver) -> Author {
    let has = |name: &str| os_path(&d.dir).join(name).exists();
    match d.declared.tool {
        _ if d.declared.collects_depfiles || has("CMakeCache.txt") => Author::Cmake,
        Tool::Ninja if has("meson-private") => Author::Meson,
        _ => Author::Person,
    }
}

/// A file by which generated makefiles talk to themselves: what removes an old archive, when dependencies were
/// collected, how far the build is, that a directory is there. Nobody edits it, and it is written anew.
pub(super) fn for_generator(path: &[u8]) -> bool {
    let dir = parent(path);
    matches!(base_name(path), b"cmake_clean_target.cmake" | b"compiler_depend.ts" | b".dirstamp")
        || base_name(dir) == b"autom4te.cache"
        || base_name(dir) == b"Progress" && base_name(parent(dir)) == b"CMakeFiles"
}

/// One of the files that a tool makes besides the one that it is asked for, and that the rules for its `clean` know:
/// libtool's objects, and CMake's names for the versions of a library.
pub(super) fn is_accessory(output: &[u8], command: &[Vec<u8>], path: &[u8]) -> bool {
    let stem = |p: &[u8], end: &[u8]| p.strip_suffix(end).map(<[u8]>::to_vec);
    let libtool =
        base_name(parent(path)) == b".libs" || stem(output, b".lo").is_some_and(|s| Some(s) == stem(path, b".o"));
    libtool || says(command, b"cmake_symlink_library")
}

/// Is it the command by which CMake's makefiles give a library's link the time of the library? What is in the file, it
/// leaves alone.
pub(super) fn only_touches(command: &[Vec<u8>]) -> bool {
    says(command, b"touch_nocreate")
}

fn says(command: &[Vec<u8>], word: &[u8]) -> bool {
    command.iter().any(|w| w.windows(word.len()).any(|x| x == word))
}

/// The name that CMake gives what a custom target does (`CMakeFiles/NAME`): it never becomes a file, so that the target
/// is made in every build.
pub(super) fn is_name_of_target(d: &Driver, output: &PathBytes) -> bool {
    base_name(parent(output)) == b"CMakeFiles" && author(d) == Author::Cmake
}
