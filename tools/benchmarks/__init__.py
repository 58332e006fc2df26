"""Speed on equal work: models of the true shapes with random weights, the audio, and the programs to compare with."""
