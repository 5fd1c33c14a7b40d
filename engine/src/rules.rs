//! The user's settings, as whoever runs commands asks for them.

use crate::config::Config;
use worker::executor::Rules;

impl Rules for Config {
    fn root(&self) -> &[u8] {
        self.root.as_os_str().as_encoded_bytes()
    }

    fn ignores(&self, path: &[u8]) -> bool {
        self.ignores(path)
    }

    fn ignores_tool(&self, program: &[u8]) -> bool {
        self.ignores_tool(program)
    }

    fn uncached(&self, program: &[u8]) -> Option<&str> {
        self.uncached(program)
    }

    fn deterministic(&self, program: &[u8]) -> bool {
        self.deterministic(program)
    }

    fn pass(&self) -> &[String] {
        &self.pass
    }

    fn track(&self) -> &[String] {
        &self.track
    }
}
