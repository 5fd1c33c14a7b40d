//! What the user's settings say of pips, as far as it matters to whoever runs them.

/// The user's rules.
pub trait Rules: Send + Sync {
    /// The workspace: what is below it may have any name.
    fn root(&self) -> &[u8];
    /// Do looks at this path not count?
    fn ignores(&self, path: &[u8]) -> bool;
    /// Do the looks of this program not count?
    fn ignores_tool(&self, program: &[u8]) -> bool;
    /// Why no result of this program may be stored, if so.
    fn uncached(&self, program: &[u8]) -> Option<&str>;
    /// Does what this program makes not depend on time or chance, whatever its text says?
    fn deterministic(&self, program: &[u8]) -> bool;
    /// Environment variables that never count, besides the built-in ones.
    fn pass(&self) -> &[String];
    /// Environment variables that always count.
    fn track(&self) -> &[String];
}
