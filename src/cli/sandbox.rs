//! The flags that say which sandbox is used, who makes it, and how.

use std::time::Duration;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use openhands_client::time_limits::TimeLimits;

use super::values::duration;
use crate::input::services::ProviderKind;

impl ValueEnum for ProviderKind {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Cloud, Self::Docker, Self::RuntimeApi]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Cloud => "A sandbox of OpenHands Cloud",
            Self::Docker => "A container of this machine, by the `docker` command",
            Self::RuntimeApi => "A sandbox of the Runtime API at RUNTIME_API_URL",
        };
        Some(PossibleValue::new(self.name()).help(help))
    }
}

/// Where the agent of a run works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum WorkspaceKind {
    /// In this sandbox.
    #[default]
    Inside,
    /// In a new sandbox of this provider, driven from here.
    Outside(ProviderKind),
}

impl WorkspaceKind {
    /// Who makes the sandbox of a run from outside.
    #[must_use]
    pub(crate) fn provider(self) -> Option<ProviderKind> {
        match self {
            Self::Inside => None,
            Self::Outside(provider) => Some(provider),
        }
    }
}

impl ValueEnum for WorkspaceKind {
    fn value_variants<'a>() -> &'a [Self] {
        use ProviderKind::{Cloud, Docker, RuntimeApi};
        const { &[Self::Inside, Self::Outside(Cloud), Self::Outside(Docker), Self::Outside(RuntimeApi)] }
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Inside => Some(PossibleValue::new("inside").help("In this sandbox")),
            Self::Outside(provider) => provider.to_possible_value(),
        }
    }
}

/// Who makes the sandbox of a command.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct ProviderArgs {
    /// Choose the provider of the sandbox.
    #[arg(long = "workspace", value_enum, default_value_t, value_name = "WHERE")]
    pub(crate) kind: ProviderKind,
}

/// How a new sandbox is made.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ProvisionArgs {
    /// Use this sandbox spec for a new sandbox of the Cloud [default: OPENHANDS_SANDBOX_SPEC_ID, else the account's].
    #[arg(long, value_name = "ID")]
    pub(crate) sandbox_spec: Option<String>,

    /// Use this image for a new container, or for a new sandbox of the Runtime API
    /// [default: ghcr.io/openhands/agent-server:latest-python].
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,

    /// Mount this folder into a new container, as `docker run --volume` does. May be repeated.
    #[arg(long = "volume", value_name = "HERE:THERE")]
    pub(crate) volumes: Vec<String>,

    /// Wait this long for the sandbox to be ready [default: 300s].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) init_timeout: Option<Duration>,

    /// Wait this long for a response from the Cloud API or the Runtime API [default: 60s].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) api_timeout: Option<Duration>,
}

impl ProvisionArgs {
    /// How long a sandbox may take until it is ready.
    #[must_use]
    pub(crate) fn init_timeout(&self, limits: &TimeLimits) -> Duration {
        self.init_timeout.unwrap_or(limits.sandbox_init)
    }

    /// How long one call of the provider's API may take.
    #[must_use]
    pub(crate) fn api_timeout(&self, limits: &TimeLimits) -> Duration {
        self.api_timeout.unwrap_or(limits.sandbox_request)
    }

    /// The flags, whether each was given, and the providers that understand it.
    fn flags(&self) -> [(&'static str, bool, &'static [ProviderKind]); 5] {
        use ProviderKind::{Cloud, Docker, RuntimeApi};
        [
            ("--sandbox-spec", self.sandbox_spec.is_some(), &[Cloud]),
            ("--image", self.image.is_some(), &[Docker, RuntimeApi]),
            ("--volume", !self.volumes.is_empty(), &[Docker]),
            ("--init-timeout", self.init_timeout.is_some(), &[Cloud, Docker, RuntimeApi]),
            ("--api-timeout", self.api_timeout.is_some(), &[Cloud, RuntimeApi]),
        ]
    }

    /// What is wrong with the flags for this provider.
    pub(super) fn refusal(&self, provider: ProviderKind) -> Option<String> {
        let (flag, _, known) =
            self.flags().into_iter().find(|(_, given, known)| *given && !known.contains(&provider))?;
        let known: Vec<_> = known.iter().map(|kind| format!("`--workspace {}`", kind.name())).collect();
        Some(format!("`{flag}` is for {}, not for `--workspace {}`", known.join(" and "), provider.name()))
    }
}

/// Which sandbox is used, and whether it stays.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct NewSandboxArgs {
    /// Use this existing sandbox, and keep it. Default: create one, and delete it at the end.
    #[arg(long = "sandbox", value_name = "ID")]
    pub(crate) id: Option<String>,

    /// Keep the new sandbox at the end. The log has its id.
    #[arg(long)]
    pub(crate) keep_alive: bool,

    /// How it is made.
    #[command(flatten)]
    pub(crate) provision: ProvisionArgs,
}

impl NewSandboxArgs {
    /// The sandbox with this id, which stays.
    #[must_use]
    pub(crate) fn existing(id: &str) -> Self {
        Self { id: Some(id.to_owned()), ..Self::default() }
    }

    /// The first flag that was given.
    pub(super) fn given(&self) -> Option<&'static str> {
        let own = [("--sandbox", self.id.is_some()), ("--keep-alive", self.keep_alive)];
        let provision = self.provision.flags().map(|(flag, given, _)| (flag, given));
        own.into_iter().chain(provision).find_map(|(flag, given)| given.then_some(flag))
    }

    /// Whether the sandbox is deleted at the end.
    #[must_use]
    pub(crate) fn is_deleted(&self) -> bool {
        self.id.is_none() && !self.keep_alive
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_that_the_provider_does_not_know_is_refused() {
        let image = ProvisionArgs { image: Some("i".to_owned()), ..ProvisionArgs::default() };
        let volume = ProvisionArgs { volumes: vec!["/a:/b".to_owned()], ..ProvisionArgs::default() };
        for (args, provider, words) in [
            (
                &image,
                ProviderKind::Cloud,
                "`--image` is for `--workspace docker` and `--workspace runtime-api`, not for",
            ),
            (&volume, ProviderKind::RuntimeApi, "`--volume` is for `--workspace docker`, not for"),
        ] {
            let refusal = args.refusal(provider).unwrap();
            assert!(refusal.starts_with(words), "{refusal}");
            assert_eq!(args.refusal(ProviderKind::Docker), None);
        }
    }
}
