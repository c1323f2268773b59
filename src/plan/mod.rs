//! Combines settings and task into the plan of a run, a plain value. Pure; all problems are reported together.

pub(crate) mod access;
pub(crate) mod commands;
pub(crate) mod context;
mod conversation;
mod experiment;
mod messages;
pub(crate) mod repos;

use std::time::Duration;

use jiff::Timestamp;
use openhands_client::agent_server::AgentServerAddress;
use openhands_client::agent_server::plugin::PluginSource;
use openhands_client::agent_server::wire::Llm;
use openhands_client::conversation::DEFAULT_WORKING_DIR;
use openhands_client::ids::{ConversationId, RunId};
use openhands_client::text;
use openhands_client::workspace::SecretSelection;
use serde_json::{Map, Value};

use crate::agent_result::ResultSpec;
use crate::input::notify::Notify;
use crate::input::payload::Payload;
use crate::input::services::ProviderKind;
use crate::input::settings::{Account, DirectLlm, Settings};
use crate::input::task::agent::{AgentChoice, Confirmation};
use crate::input::task::collect::CollectPattern;
use crate::input::task::plugins::{Experiment, Variant};
use crate::input::task::skills::SkillSources;
use crate::input::task::{LlmChoice, Task};
use crate::input::time_limits::RunLimits;
use crate::input::working_dirs::WORKING_DIR_HELP;
use crate::plan::commands::{ChecksPlan, CommandPlan};
use crate::plan::context::Context;
use crate::plan::repos::RepoPlan;
use crate::problem::{Problem, Problems};

pub(crate) use self::conversation::ConversationPlan;

/// How many times checks run, unless the task sets another number.
const ATTEMPTS: u32 = 3;

/// The plan of a run.
#[derive(Debug, Clone)]
pub(crate) struct RunPlan {
    /// The agent-server of the run.
    pub(crate) agent_server: AgentServerAddress,
    /// The time limits of the run.
    pub(crate) time_limits: RunLimits,
    /// The source of the inherited LLM and secrets.
    pub(crate) account: Account,
    /// The LLM and the source that it comes from.
    pub(crate) llm: LlmPlan,
    /// The account's agent profile, by name or id, which replaces LLM, tools and MCP servers. The LLM profile in `llm`, if there
    /// is one, replaces the one in the agent profile.
    pub(crate) agent_profile: Option<String>,
    /// The changes of the default agent.
    pub(crate) agent: AgentChoice,
    /// The secrets of the account that the agent gets.
    pub(crate) secrets: SecretSelection,
    /// The repositories to clone into the working directory first.
    pub(crate) repos: Vec<RepoPlan>,
    /// The commands to run before the first message.
    pub(crate) setup: Vec<CommandPlan>,
    /// The commands that must pass after the agent has finished.
    pub(crate) checks: ChecksPlan,
    /// The files in the working directory to collect.
    pub(crate) collect: Vec<CollectPattern>,
    /// The sources of the agent's skills.
    pub(crate) skills: SkillSources,
    /// The context in the first message, in addition to the task.
    pub(crate) context: Context,
    /// The conversation, without what [`crate::prepare`] adds: skills, and the complete messages.
    pub(crate) conversation: ConversationPlan,
    /// What the agent is asked to return at its end.
    pub(crate) result_spec: ResultSpec,
    /// Whether the agent-server can run this program as the hooks for the agent's finish.
    pub(crate) with_hooks: bool,
    /// Receivers of the result, in addition to those that the environment names.
    pub(crate) notify: Vec<Notify>,
    /// The time limit of the whole run.
    pub(crate) timeout: Option<Duration>,
    /// The time at which the run has to be over.
    pub(crate) deadline: Option<Timestamp>,
}

/// The source of the LLM, and the changes to it.
#[derive(Debug, Clone)]
pub(crate) struct LlmPlan {
    /// The LLM to which the task's fields are applied.
    pub(crate) base: LlmBase,
    /// Fields of the task file, which override those of the base.
    pub(crate) fields: Map<String, Value>,
}

/// The LLM before the task's fields are applied.
#[derive(Debug, Clone)]
pub(crate) enum LlmBase {
    /// An LLM that is configured directly.
    Given(Llm),
    /// The LLM of the account.
    Inherited {
        /// The name of a profile, instead of the account's default.
        profile: Option<Profile>,
        /// `LLM_MODEL`, which replaces the inherited model.
        model: Option<String>,
    },
}

/// A named LLM profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Profile {
    /// The name of the profile.
    pub(crate) name: String,
    /// Whether the account's default LLM is used if the profile does not exist. This applies to a profile from the environment or
    /// an experiment, as in the automation service; a profile in a flag or a task file must exist.
    pub(crate) default_will_do: bool,
}

impl LlmPlan {
    /// Returns the name of the inherited profile.
    #[must_use]
    pub(crate) fn profile(&self) -> Option<&str> {
        match &self.base {
            LlmBase::Inherited { profile, .. } => profile.as_ref().map(|profile| profile.name.as_str()),
            LlmBase::Given(_) => None,
        }
    }

    /// Returns the LLM of the agent, from the configured or inherited base.
    #[must_use]
    pub(crate) fn complete(&self, base: &Llm) -> Llm {
        let base = match &self.base {
            LlmBase::Inherited { model: Some(model), .. } => base.clone().model(model),
            _ => base.clone(),
        };
        let llm = self.fields.iter().fold(base, |llm, (name, value)| llm.set(name, value.clone()));
        // The server distinguishes usage by this id, and an inherited id may belong to another use.
        llm.used_as("agent")
    }
}

impl RunPlan {
    /// Plans a run.
    ///
    /// # Errors
    /// [`Problems`]: everything that the settings and the task request but that is not possible with these settings.
    pub(crate) fn new(settings: Settings, mut task: Task, time_limits: RunLimits) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let run_id = settings.run_id.clone();
        let (messages, context) = messages::messages(
            &task,
            &settings.payload,
            &settings.params,
            run_id.as_ref(),
            settings.run_key.as_ref(),
            &mut problems,
        );
        let chosen = take_variant(settings.run_id.as_ref(), &mut task, &mut problems);
        let variant = chosen.as_ref().map(|(_, variant)| variant);
        let agent_profile = settings
            .agent_profile
            .clone()
            .or_else(|| task.agent.profile.clone())
            .or_else(|| settings.default_agent_profile.clone());
        let of_variant = variant.and_then(|variant| variant.model.as_ref());
        refuse_unknown_risk(&task, &mut problems);
        let llm = if agent_profile.is_some() {
            refuse_beside_profile(&task, &mut problems);
            llm_of_agent_profile(&settings, task.llm, of_variant, &task.origin.file, &mut problems)
        } else {
            llm_plan(&settings, task.llm, of_variant, &mut problems)
        };
        let secrets = match task.secrets {
            None => SecretSelection::All,
            Some(names) => SecretSelection::Named(names),
        };
        if let (SecretSelection::Named(names), Account::None { missing }) = (&secrets, &settings.account)
            && !names.is_empty()
        {
            problems.push(Problem::new(
                "secrets",
                format!("the task asks for {}, and there is no account to take secrets from", text::listed(names)),
                format!("set {}", text::listed(missing)),
            ));
        }
        let working_dir = match (settings.working_dir, task.working_dir) {
            (Some(path), _) => path,
            (None, Some(path)) => settings.working_dirs.absolute(&path).unwrap_or_else(|found| {
                let place = format!("{}: working_dir", task.origin.file);
                problems.push(Problem::new(place, found, WORKING_DIR_HELP));
                path
            }),
            (None, None) => DEFAULT_WORKING_DIR.to_owned(),
        };
        if !problems.is_empty() {
            return Err(Problems(problems));
        }

        let own_id = || settings.run_id.as_ref().map_or_else(ConversationId::random, ConversationId::of_run);
        let by_default = if settings.shows_task_outcome { ResultSpec::TaskOutcome } else { ResultSpec::Message };
        let mut tags = task.tags.0;
        let plugins: Vec<PluginSource> = task.plugins.into_iter().map(PluginSource::from).collect();
        tags.extend(experiment::plugin_tag(&plugins));
        tags.extend(settings.tags);
        if let Some((experiment, variant)) = &chosen {
            tags.extend(experiment::tags(experiment, variant, llm.profile()));
        }
        let conversation = ConversationPlan {
            id: settings.conversation_id.unwrap_or_else(own_id),
            continued: settings.conversation_id.is_some(),
            messages,
            working_dir,
            title: task.name.or(settings.title),
            tags,
            user_id: settings.user_id,
            trace: settings.trace,
            iterations: task.limits.iterations,
            cost: task.limits.cost,
            run_id: settings.run_id,
            plugins,
            mcp: task.mcp,
        };
        Ok(Self {
            result_spec: task.result.unwrap_or(by_default),
            with_hooks: !matches!(settings.account, Account::OfSandbox(_)),
            agent_server: settings.agent_server,
            time_limits,
            account: settings.account,
            llm,
            agent_profile,
            agent: task.agent,
            secrets,
            repos: RepoPlan::of(task.repos, time_limits.clone),
            setup: CommandPlan::of(task.setup, time_limits.command),
            checks: ChecksPlan {
                commands: CommandPlan::of(task.checks, time_limits.command),
                attempts: task.limits.attempts.unwrap_or(ATTEMPTS),
            },
            collect: task.collect,
            skills: task.skills,
            context,
            conversation,
            notify: task.notify,
            timeout: task.limits.timeout,
            deadline: settings.deadline,
        })
    }

    /// Does the same for a run that is driven from outside of its sandbox, which this provider creates.
    ///
    /// # Errors
    /// [`Problems`]: features that only a run inside can have. Repositories would be cloned on this machine.
    pub(crate) fn driven_from_outside(self, provider: ProviderKind) -> Result<Self, Problems> {
        if self.repos.is_empty() {
            return Ok(self);
        }
        Err(Problem::new(
            "repos",
            format!(
                "a run with `--workspace {}` is driven from here, and cannot clone into its sandbox",
                provider.name()
            ),
            "use `openhands-runner launch`, which runs inside, or leave `repos` out",
        )
        .into())
    }
}

/// Returns the errors in the messages of a task when they are rendered, and in its parameters.
#[must_use]
pub(crate) fn check_messages(task: &Task, payload: &Payload, params: &[(String, String)]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let _ = messages::messages(task, payload, params, None, None, &mut problems);
    problems
}

/// Chooses the variant of an experiment, and adds its plugins to the task.
fn take_variant(run_id: Option<&RunId>, task: &mut Task, problems: &mut Vec<Problem>) -> Option<(Experiment, Variant)> {
    let experiment = task.experiment.take()?;
    if !task.plugins.is_empty() {
        let found = "both `plugins` and `experiment`";
        problems.push(Problem::new(&task.origin.file, found, "give each variant of the experiment its plugins"));
    }
    let variant = experiment::choose(&experiment, run_id)?;
    tracing::info!(experiment = experiment.experiment_id, variant = variant.name, "variant chosen");
    task.plugins.clone_from(&variant.plugins);
    Some((experiment, variant))
}

/// Returns the requested profile: that of a flag, or else of an experiment's variant, of the task, or of the environment.
fn profile(settings: &Settings, of_variant: Option<&String>, of_task: Option<String>) -> Option<Profile> {
    let meant = |name: String| Profile { name, default_will_do: false };
    let wished = |name: String| Profile { name, default_will_do: true };
    let of_flag = settings.profile.clone().map(meant);
    of_flag
        .or_else(|| of_variant.cloned().map(wished))
        .or_else(|| of_task.map(meant))
        .or_else(|| settings.default_profile.clone().map(wished))
}

/// A confirmation policy by risk needs an analyzer.
fn refuse_unknown_risk(task: &Task, problems: &mut Vec<Problem>) {
    if task.agent.confirmation_policy == Some(Confirmation::Risky) && task.agent.security_analyzer.is_none() {
        let found = "without a security analyzer nothing tells which actions are risky";
        let help = "give `agent.security_analyzer` too, such as `llm`";
        problems.push(Problem::new(format!("{}: agent.confirmation_policy", task.origin.file), found, help));
    }
}

/// An agent profile sets what these fields would change.
fn refuse_beside_profile(task: &Task, problems: &mut Vec<Problem>) {
    let mut refuse = |field: &str, found: &str, help: &str| {
        problems.push(Problem::new(format!("{}: {field}", task.origin.file), found, help));
    };
    if !task.agent.is_default_agent() {
        let help = "change the profile, or remove one of the two";
        refuse("agent", "changes of the default agent together with an agent profile", help);
    }
    if !task.mcp.is_empty() {
        refuse(
            "mcp",
            "`mcp` together with an agent profile",
            "remove one of the two: the agent profile names its MCP servers",
        );
    }
}

/// Returns the LLM profile that replaces the one of an agent profile: one that the user or an experiment sets. `AUTOMATION_MODEL`
/// applies only to an agent without an LLM of its own.
fn llm_of_agent_profile(
    settings: &Settings,
    choice: LlmChoice,
    of_variant: Option<&String>,
    file: &str,
    problems: &mut Vec<Problem>,
) -> LlmPlan {
    let LlmChoice { profile: of_task, fields } = choice;
    if !fields.is_empty() {
        let found = format!("{} together with an agent profile", text::listed(fields.keys()));
        let help = "name an LLM profile with `llm.profile` or --profile, or leave the agent profile out";
        problems.push(Problem::new(format!("{file}: llm, or --model"), found, help));
    }
    if settings.llm.model.is_some() || settings.llm.stands_alone() {
        tracing::warn!("LLM_MODEL, LLM_API_KEY and LLM_BASE_URL have no effect: the agent profile names its LLM");
    }
    let profile = profile(settings, of_variant, of_task);
    let named =
        profile.filter(|profile| settings.default_profile.as_ref() != Some(&profile.name) || !profile.default_will_do);
    LlmPlan { base: LlmBase::Inherited { profile: named, model: None }, fields: Map::new() }
}

fn llm_plan(
    settings: &Settings,
    choice: LlmChoice,
    of_variant: Option<&String>,
    problems: &mut Vec<Problem>,
) -> LlmPlan {
    let LlmChoice { profile: of_task, fields } = choice;
    let profile = profile(settings, of_variant, of_task);
    let has_model = fields.get("model").is_some_and(|model| !model.is_null());
    let given = &settings.llm;
    let base = match &settings.account {
        _ if given.stands_alone() => {
            if given.model.is_none() && !has_model {
                problems.push(Problem::new("LLM_MODEL", "not set beside the other LLM_ variables", "name the model"));
            }
            LlmBase::Given(direct(given))
        }
        // Some LLMs need no key; the fields of the task may contain everything that is needed.
        Account::None { .. } if has_model || (given.model.is_some() && fields.contains_key("base_url")) => {
            LlmBase::Given(direct(given))
        }
        account => {
            if let Account::None { missing } = account {
                problems.push(Problem::new(
                    "LLM",
                    "none is given, and there is no account to inherit one from",
                    format!("set LLM_MODEL and LLM_API_KEY, or {}", text::listed(missing)),
                ));
            }
            LlmBase::Inherited { profile: profile.clone(), model: given.model.clone() }
        }
    };
    if let (LlmBase::Given(_), Some(profile)) = (&base, &profile) {
        tracing::warn!(profile = profile.name, "the LLM profile has no effect: an LLM is given directly");
    }
    LlmPlan { base, fields }
}

fn direct(given: &DirectLlm) -> Llm {
    let fields = [
        ("model", given.model.clone()),
        ("api_key", given.api_key.as_ref().map(|key| key.expose().to_owned())),
        ("base_url", given.base_url.clone()),
    ];
    let set = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
    Llm::from(set.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::input::env::RawEnv;
    use crate::input::settings::Overrides;
    use crate::input::task::parse::{TaskFormat, parse};

    const ACCOUNT: &[(&str, &str)] = &[("SANDBOX_ID", "s"), ("SESSION_API_KEY", "k"), ("OPENHANDS_API_KEY", "c")];

    fn plan(vars: &[(&str, &str)], task: &str) -> Result<RunPlan, Problems> {
        let (raw, _) = RawEnv::from_vars(vars.iter().map(|(name, value)| (name.into(), value.into())));
        let settings = Settings::from_env(&raw, &[], Overrides::default()).unwrap();
        RunPlan::new(settings, parse(task, TaskFormat::Yaml, "task").unwrap(), RunLimits::default())
    }

    fn account_and(vars: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
        ACCOUNT.iter().chain(vars).copied().collect()
    }

    #[test]
    fn without_llm_and_account_the_problem_names_both_ways_out() {
        let problems = plan(&[("SANDBOX_ID", "s")], "prompt: x\nsecrets: [A, B]").unwrap_err().to_string();
        assert!(
            problems.contains("set LLM_MODEL and LLM_API_KEY, or OPENHANDS_API_KEY and SESSION_API_KEY"),
            "{problems}"
        );
        assert!(problems.contains("the task asks for A and B"), "{problems}");
    }

    #[test]
    fn a_given_llm_comes_before_an_inherited_one_and_the_tasks_fields_are_on_top() {
        let plan = plan(
            &account_and(&[("LLM_MODEL", "m"), ("LLM_API_KEY", "sk")]),
            "prompt: x\nllm: {profile: fast, temperature: 0.5, model: own}",
        )
        .unwrap();
        let LlmBase::Given(base) = &plan.llm.base else { panic!("{:?}", plan.llm) };
        assert_eq!(
            serde_json::to_value(plan.llm.complete(base)).unwrap(),
            json!({"model": "own", "api_key": "sk", "temperature": 0.5, "usage_id": "agent"})
        );
    }

    #[test]
    fn the_model_alone_replaces_the_inherited_one() {
        let plan = plan(&account_and(&[("LLM_MODEL", "other")]), "prompt: x").unwrap();
        assert!(matches!(&plan.llm.base, LlmBase::Inherited { profile: None, model: Some(model) } if model == "other"));
        let Value::Object(inherited) = json!({"model": "m", "api_key": "k", "usage_id": "default"}) else {
            unreachable!()
        };
        let expected = json!({"model": "other", "api_key": "k", "usage_id": "agent"});
        assert_eq!(serde_json::to_value(plan.llm.complete(&Llm::from(inherited))).unwrap(), expected);
    }

    const EXPERIMENT: &str = "experiment: {experiment_id: e, variants: [{name: A, weight: 1, model: of-variant}]}";

    #[test]
    fn the_profile_is_the_flags_the_variants_the_tasks_then_the_environments() {
        let of = |flag: Option<&str>, task: &str, vars: &[(&'static str, &'static str)]| {
            let vars = account_and(vars);
            let (raw, _) = RawEnv::from_vars(vars.iter().map(|(name, value)| (name.into(), value.into())));
            let flags = Overrides { profile: flag.map(str::to_owned), ..Overrides::default() };
            let settings = Settings::from_env(&raw, &[], flags).unwrap();
            let task = parse(&format!("prompt: x\n{task}"), TaskFormat::Yaml, "task").unwrap();
            let plan = RunPlan::new(settings, task, RunLimits::default()).unwrap();
            let LlmBase::Inherited { profile, .. } = plan.llm.base else { panic!("nothing was given") };
            let profile = profile.map(|profile| (profile.name, profile.default_will_do));
            (profile, plan.conversation.tags.get("modelprofile").cloned())
        };
        let named = |name: &str, default_will_do, tag: Option<&str>| {
            (Some((name.to_owned(), default_will_do)), tag.map(str::to_owned))
        };
        let environment = [("AUTOMATION_MODEL", "of-environment")];
        let task = "llm: {profile: of-task}";
        let both = &format!("{task}\n{EXPERIMENT}");
        assert_eq!(of(Some("flag"), both, &environment), named("flag", false, Some("flag")));
        assert_eq!(of(None, both, &environment), named("of-variant", true, Some("of-variant")));
        assert_eq!(of(None, task, &environment), named("of-task", false, None));
        assert_eq!(of(None, "", &environment), named("of-environment", true, None));
        assert_eq!(of(None, "", &[]), (None, None));
    }

    #[test]
    fn an_agent_profile_is_the_flags_the_tasks_then_the_environments_and_names_its_llm() {
        let of = |flag: Option<&str>, task: &str| {
            let environment = [("AUTOMATION_AGENT_PROFILE_ID", "of-environment"), ("AUTOMATION_MODEL", "wished")];
            let (raw, _) = RawEnv::from_vars(environment.map(|(name, value)| (name.into(), value.into())));
            let flags = Overrides { agent_profile: flag.map(str::to_owned), ..Overrides::default() };
            let settings = Settings::from_env(&raw, &[], flags).unwrap();
            let task = parse(&format!("prompt: x\n{task}"), TaskFormat::Yaml, "task").unwrap();
            let plan = RunPlan::new(settings, task, RunLimits::default()).map_err(|problems| problems.to_string())?;
            Ok::<_, String>((plan.agent_profile.unwrap(), plan.llm.profile().map(str::to_owned)))
        };
        let named = |name: &str, llm: Option<&str>| Ok((name.to_owned(), llm.map(str::to_owned)));
        assert_eq!(of(Some("flag"), "agent: {profile: of-task}"), named("flag", None));
        assert_eq!(of(None, "agent: {profile: of-task}\nllm: {profile: fast}"), named("of-task", Some("fast")));
        assert_eq!(of(None, EXPERIMENT), named("of-environment", Some("of-variant")));
        let problems = of(None, "llm: {temperature: 0.5}\nmcp: {a: {url: 'http://u'}}").unwrap_err();
        assert!(problems.contains("temperature together with an agent profile"), "{problems}");
        assert!(problems.contains("`mcp` together with an agent profile"), "{problems}");
        let problems = of(None, "agent: {tools: [terminal]}").unwrap_err();
        assert!(
            problems.contains("task: agent: changes of the default agent together with an agent profile"),
            "{problems}"
        );
    }

    #[test]
    fn a_profile_without_effect_is_no_tag() {
        let given = account_and(&[("LLM_MODEL", "m"), ("LLM_API_KEY", "sk"), ("AUTOMATION_MODEL", "p")]);
        let tags = plan(&given, &format!("prompt: x\n{EXPERIMENT}")).unwrap().conversation.tags;
        assert_eq!((tags.get("variant").map(String::as_str), tags.get("modelprofile")), (Some("A"), None));
    }

    #[test]
    fn an_llm_without_a_key_can_stand_in_the_task() {
        let plan = plan(&[], "prompt: x\nllm: {model: local, base_url: 'http://llm/'}").unwrap();
        assert!(matches!(plan.llm.base, LlmBase::Given(_)));
    }

    #[test]
    fn the_conversation_is_the_runs_own_unless_one_is_named() {
        let own = plan(&account_and(&[("RUN_ID", "r")]), "prompt: x").unwrap().conversation;
        assert_eq!(own.id, ConversationId::of_run(&RunId::new("r")));
        assert!(!own.continued);
        let named = "6f1e0a52-4c5b-4d0e-9a4e-51a78f2d3c90";
        let continued = plan(&account_and(&[("RUN_ID", "r"), ("AUTOMATION_CONVERSATION_ID", named)]), "prompt: x")
            .unwrap()
            .conversation;
        assert_eq!(continued.id.to_string(), named);
        assert!(continued.continued);
    }

    #[test]
    fn the_working_directory_is_the_environments_then_the_tasks_then_the_sandboxs() {
        let dir = |vars: &[(&'static str, &'static str)], task| {
            plan(&account_and(vars), task).unwrap().conversation.working_dir
        };
        let task = "prompt: x\nworking_dir: /task";
        assert_eq!(dir(&[("WORKSPACE_BASE", "/env")], task), "/env");
        assert_eq!(dir(&[], task), "/task");
        assert_eq!(dir(&[], "prompt: x"), DEFAULT_WORKING_DIR);
    }
}
