//! The real binary on real compilers and build tools, one kind of promise a file.
//!
//! `world` is all the help there is: a scratch directory, the commands, the build record.

mod audit;
mod backends;
mod behaviour;
mod cache_faults;
mod contract;
mod crash;
mod elsewhere;
mod endings;
mod enforce;
mod explain;
mod heal;
mod kept_outputs;
mod kinds;
mod kinds_generated;
mod log;
mod manual;
mod options;
mod output;
mod package;
mod places;
mod property;
mod refusals;
mod remote;
mod reports;
mod safety;
mod secrets;
mod summaries;
mod terminal;
mod times;
mod trace;
mod traps;
mod warm;
mod workloads;
mod world;
