//! Strongroom agent.
