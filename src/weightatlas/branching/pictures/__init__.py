"""Pictures of units: kernels, feature visualisations, exciting patches, position vectors."""
