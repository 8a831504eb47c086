"""Studies of how well questions are answered: experiments and patterns of questions, and the sums of usage and quality."""

from __future__ import annotations

from collections.abc import Sequence

from responsa_server.agents.engine.background_model import BackgroundModel
from responsa_server.app.assemble import background_model, insight_prompts
from responsa_server.app.extension import Extension, Parts, Periodic
from responsa_server.app.resources import new_id
from responsa_server.calls.frames import AskFrames
from responsa_server.calls.services.administration.experiments import ExperimentService
from responsa_server.domain.models import Models
from responsa_server.insight.experiments import ExperimentKeeper
from responsa_server.insight.grouping import Grouping
from responsa_server.insight.patterns import PatternKeeper
from responsa_server.insight.periodic import InsightKeeper
from responsa_server.insight.settings import InsightSettings
from responsa_server.stores.postgres.experiments import PostgresExperiments
from responsa_server.stores.postgres.insight import PostgresInsight
from responsa_server.stores.postgres.patterns import PostgresPatterns


def studies(parts: Parts) -> Extension:
    """Periodic work raises Fixable if the model for the titles of patterns is not available."""
    database, knowledge, turns = parts.database, parts.knowledge, parts.turns
    catalogue, errors = parts.agents.agents, knowledge.queue.errors
    experiments = PostgresExperiments(database)

    def services() -> Sequence[object]:
        return (ExperimentService(experiments, catalogue, new_id),)

    def periodic() -> Sequence[Periodic]:
        patterns = PatternKeeper(
            PostgresPatterns(database, AskFrames()),
            knowledge.embedders,
            parts.caches.vectors,
            Grouping(new_id),
            insight_model(parts.settings.insight, parts.models),
            errors,
            parts.pause,
        )
        sums = InsightKeeper(PostgresInsight(database), turns.errors)
        return (sums, patterns, ExperimentKeeper(experiments, catalogue, turns.errors))

    return Extension(services, periodic=periodic)


def insight_model(settings: InsightSettings, models: Models) -> BackgroundModel | None:
    """Return the model that gives titles to patterns of questions, or None if the settings name no model. Raises
    Fixable if the model is not available."""
    return background_model("insight.model", settings.model, models, "question", insight_prompts)
