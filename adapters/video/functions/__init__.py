"""The state machine's Lambda functions, one file each; they need boto3 and the standard library only."""
