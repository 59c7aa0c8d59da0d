//! A GitOps deploy agent for Docker Compose stacks.
