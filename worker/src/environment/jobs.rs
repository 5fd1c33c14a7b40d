//! Identifiers of a job, as systems of continuous integration set them: data, each list with its source.
//!
//! They change with every commit or run, and hardly any command of a build reads one: each counts only where a script
//! or a tool of the build names it. What the machine's own programs read (git's `GIT_COMMITTER_*`, anybody's `CI`) is
//! in no list, for nobody looks for names in those. A trailing `*` stands for a name space that is the system's alone.

use crate::scripts::part_of_name;
use aho_corasick::AhoCorasick;
use std::sync::LazyLock;

/// For each system where its list is from, and the list.
const SYSTEMS: &[(&str, &[&str])] = &[
    (
        "docs.github.com/actions/reference/variables-reference; Gitea and Forgejo set the same, and their own",
        &["GITHUB_*", "RUNNER_*", "ACTIONS_*", "GITEA_*", "FORGEJO_*"],
    ),
    (
        "docs.gitlab.com/ci/variables/predefined_variables",
        &[
            "CHAT_CHANNEL",
            "CHAT_INPUT",
            "CHAT_USER_ID",
            "CI_*",
            "GITLAB_CI",
            "GITLAB_FEATURES",
            "GITLAB_USER_*",
            "TRIGGER_PAYLOAD",
        ],
    ),
    (
        "jenkins.io/doc/book/pipeline/jenkinsfile (and `/env-vars.html` of a server); the git and subversion \
                 plugins' pages; the display-url-api plugin",
        &[
            "BUILD_NUMBER",
            "BUILD_ID",
            "BUILD_DISPLAY_NAME",
            "BUILD_TAG",
            "BUILD_URL",
            "BUILD_CAUSE*",
            "BUILD_USER*",
            "BUILD_TIMESTAMP",
            "ROOT_BUILD_CAUSE*",
            "JOB_NAME",
            "JOB_BASE_NAME",
            "JOB_URL",
            "JOB_DISPLAY_URL",
            "RUN_DISPLAY_URL",
            "RUN_ARTIFACTS_DISPLAY_URL",
            "RUN_CHANGES_DISPLAY_URL",
            "RUN_TESTS_DISPLAY_URL",
            "JENKINS_*",
            "HUDSON_*",
            "EXECUTOR_NUMBER",
            "NODE_NAME",
            "NODE_LABELS",
            "STAGE_NAME",
            "WORKSPACE",
            "WORKSPACE_TMP",
            "BRANCH_NAME",
            "BRANCH_IS_PRIMARY",
            "CHANGE_ID",
            "CHANGE_URL",
            "CHANGE_TITLE",
            "CHANGE_AUTHOR",
            "CHANGE_AUTHOR_DISPLAY_NAME",
            "CHANGE_AUTHOR_EMAIL",
            "CHANGE_TARGET",
            "CHANGE_BRANCH",
            "CHANGE_FORK",
            "TAG_NAME",
            "TAG_TIMESTAMP",
            "TAG_UNIXTIME",
            "TAG_DATE",
            "GIT_COMMIT",
            "GIT_PREVIOUS_COMMIT",
            "GIT_PREVIOUS_SUCCESSFUL_COMMIT",
            "GIT_BRANCH",
            "GIT_LOCAL_BRANCH",
            "GIT_CHECKOUT_DIR",
            "GIT_URL",
            "SVN_REVISION",
            "SVN_URL",
            "GERRIT_*",
            "ghprb*",
        ],
    ),
    ("buildkite.com/docs/pipelines/configure/environment-variables", &["BUILDKITE", "BUILDKITE_*"]),
    ("circleci.com/docs/reference/variables", &["CIRCLECI", "CIRCLE_*"]),
    (
        "learn.microsoft.com/azure/devops/pipelines/build/variables; .../release/variables",
        &[
            "AGENT_*",
            "BUILD_ARTIFACTSTAGINGDIRECTORY",
            "BUILD_BINARIESDIRECTORY",
            "BUILD_BUILDID",
            "BUILD_BUILDNUMBER",
            "BUILD_BUILDURI",
            "BUILD_CONTAINERID",
            "BUILD_CRONSCHEDULE_DISPLAYNAME",
            "BUILD_DEFINITION*",
            "BUILD_PROJECTID",
            "BUILD_PROJECTNAME",
            "BUILD_QUEUEDBY",
            "BUILD_QUEUEDBYID",
            "BUILD_REASON",
            "BUILD_REPOSITORY_*",
            "BUILD_REQUESTEDFOR",
            "BUILD_REQUESTEDFOREMAIL",
            "BUILD_REQUESTEDFORID",
            "BUILD_SOURCEBRANCH",
            "BUILD_SOURCEBRANCHNAME",
            "BUILD_SOURCESDIRECTORY",
            "BUILD_SOURCETFVCSHELVESET",
            "BUILD_SOURCEVERSION",
            "BUILD_SOURCEVERSIONAUTHOR",
            "BUILD_SOURCEVERSIONMESSAGE",
            "BUILD_STAGINGDIRECTORY",
            "BUILD_SYNCSOURCES",
            "BUILD_TRIGGEREDBY_*",
            "COMMON_TESTRESULTSDIRECTORY",
            "ENDPOINT_URL_SYSTEMVSSCONNECTION",
            "ENVIRONMENT_ID",
            "ENVIRONMENT_NAME",
            "ENVIRONMENT_RESOURCEID",
            "ENVIRONMENT_RESOURCENAME",
            "PIPELINE_WORKSPACE",
            "STRATEGY_NAME",
            "STRATEGY_CYCLENAME",
            "SYSTEM_ACCESSTOKEN",
            "SYSTEM_ARTIFACTSDIRECTORY",
            "SYSTEM_COLLECTIONID",
            "SYSTEM_COLLECTIONURI",
            "SYSTEM_CULTURE",
            "SYSTEM_DEBUG",
            "SYSTEM_DEFAULTWORKINGDIRECTORY",
            "SYSTEM_DEFINITIONID",
            "SYSTEM_DEFINITIONNAME",
            "SYSTEM_ENABLEACCESSTOKEN",
            "SYSTEM_HOSTTYPE",
            "SYSTEM_ISAZUREVM",
            "SYSTEM_ISSCHEDULED",
            "SYSTEM_JOBATTEMPT",
            "SYSTEM_JOBDISPLAYNAME",
            "SYSTEM_JOBID",
            "SYSTEM_JOBIDENTIFIER",
            "SYSTEM_JOBNAME",
            "SYSTEM_JOBPARALLELISMTAG",
            "SYSTEM_JOBPOSITIONINPHASE",
            "SYSTEM_JOBTIMEOUT",
            "SYSTEM_OIDCREQUESTURI",
            "SYSTEM_PARALLELEXECUTIONTYPE",
            "SYSTEM_PHASE*",
            "SYSTEM_PIPELINESTARTTIME",
            "SYSTEM_PLANID",
            "SYSTEM_POSTLINESSPEED",
            "SYSTEM_PULLREQUEST_*",
            "SYSTEM_RESTRICTSECRETS",
            "SYSTEM_SERVERTYPE",
            "SYSTEM_STAGE*",
            "SYSTEM_TASK*",
            "SYSTEM_TEAMFOUNDATION*",
            "SYSTEM_TEAMPROJECT*",
            "SYSTEM_TIMELINEID",
            "SYSTEM_TOTALJOBSINPHASE",
            "SYSTEM_WORKFOLDER",
            "TASK_DISPLAYNAME",
            "TF_BUILD",
            "VSTS_*",
            "AZURE_HTTP_USER_AGENT",
        ],
    ),
    (
        "jetbrains.com/help/teamcity/predefined-build-parameters.html",
        &["TEAMCITY_*", "BUILD_IS_PERSONAL", "BUILD_VCS_NUMBER", "BUILD_VCS_NUMBER_*"],
    ),
    (
        "docs.drone.io/pipeline/environment/reference (woodpecker-ci.org/docs/usage/environment: `CI_*`)",
        &["DRONE", "DRONE_*"],
    ),
    (
        "support.atlassian.com/bitbucket-cloud/docs/variables-and-secrets; bamboo variables",
        &["BITBUCKET_*", "bamboo_*"],
    ),
    ("docs.travis-ci.com/user/environment-variables", &["TRAVIS", "TRAVIS_*"]),
    ("appveyor.com/docs/environment-variables", &["APPVEYOR", "APPVEYOR_*"]),
    ("cirrus-ci.org/guide/writing-tasks, \"Environment Variables\"", &["CIRRUS_*"]),
    ("docs.semaphoreci.com/reference/env-vars", &["SEMAPHORE", "SEMAPHORE_*"]),
    ("docs.aws.amazon.com/codebuild/latest/userguide/build-env-ref-env-vars.html", &["CODEBUILD_*"]),
];

/// All of their names and name spaces.
pub(super) fn patterns() -> impl Iterator<Item = &'static str> {
    SYSTEMS.iter().flat_map(|(_, names)| *names).copied()
}

/// What a text says of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named<'a> {
    Whole(&'a [u8]),
    /// The beginning of some: the rest may be computed.
    Beginning(&'a [u8]),
}

/// How a pattern, or the beginning of one, is to be met.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Head {
    /// The whole name.
    Name,
    /// A name that begins so.
    Space,
    /// Up to an underscore, where something computed may follow.
    Beginning,
}

/// All heads at once.
static HEADS: LazyLock<(AhoCorasick, Vec<Head>)> = LazyLock::new(|| {
    let mut all: Vec<(&str, Head)> = Vec::new();
    for p in patterns() {
        let (name, space) = p.strip_suffix('*').map_or((p, false), |n| (n, true));
        all.push((name, if space { Head::Space } else { Head::Name }));
        all.extend(name.match_indices('_').map(|(i, _)| (&name[..=i], Head::Beginning)));
    }
    let automaton = AhoCorasick::new(all.iter().map(|(name, _)| name)).expect("few names");
    (automaton, all.into_iter().map(|(_, head)| head).collect())
});

/// What a text names; `anywhere`: names may have something before them, as the strings of a program have no borders.
pub(super) fn named(text: &[u8], anywhere: bool) -> Vec<Named<'_>> {
    let (automaton, heads) = &*HEADS;
    let mut out = Vec::new();
    for m in automaton.find_overlapping_iter(text) {
        let (begin, end) = (m.start(), m.end());
        if !anywhere && part_of_name(begin.checked_sub(1).and_then(|i| text.get(i))) {
            continue;
        }
        let rest = text[end..].iter().position(|b| !part_of_name(Some(b))).unwrap_or(text.len() - end);
        let word = &text[begin..end + rest];
        let open = word.ends_with(b"_");
        match heads[m.pattern().as_usize()] {
            Head::Space if !open => out.push(Named::Whole(word)),
            Head::Name if rest == 0 => out.push(Named::Whole(word)),
            Head::Space | Head::Beginning if open && (rest == 0 || heads[m.pattern().as_usize()] == Head::Space) => {
                out.push(Named::Beginning(word));
            }
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_names() {
        let check = |text: &str, anywhere, want: &[&str]| {
            let all = named(text.as_bytes(), anywhere);
            let mut all: Vec<String> = all
                .iter()
                .map(|n| match n {
                    Named::Whole(n) => String::from_utf8_lossy(n).into_owned(),
                    Named::Beginning(n) => format!("{}*", String::from_utf8_lossy(n)),
                })
                .collect();
            all.sort();
            all.dedup();
            assert_eq!(all, want, "{text}");
        };
        check("os.environ['GITHUB_SHA']", false, &["GITHUB_SHA"]);
        check("os.environ['GITHUB_' + x]", false, &["GITHUB_*"]);
        check("os.environ['CI_COMMIT_' + x]", false, &["CI_COMMIT_*"]);
        check("$ENV{\"BUILD_$x\"} BUILD_TYPE", false, &["BUILD_*"]);
        check("BUILD_IDS MY_BUILD_ID GIT_COMMIT", false, &["GIT_COMMIT"]);
        check("\0MY_BUILD_ID\0", true, &["BUILD_ID"]);
        check("\0BUILDKITE\0CIRCLE_%s\0", true, &["BUILDKITE", "CIRCLE_*"]);
        check("GIT_COMMITTER_NAME GIT_AUTHOR_DATE CI", false, &[]);
    }

    #[test]
    fn every_list_has_its_source() {
        assert!(SYSTEMS.iter().all(|(source, names)| source.contains('.') && !names.is_empty()));
    }
}
