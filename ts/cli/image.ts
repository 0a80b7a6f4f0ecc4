import type { Command } from 'commander';
import type { ListOptions } from './images/actions.js';
import { FORMAT_HELP } from './vms/format.js';

type Exit = (code: number) => void;

const actions = async () => await import('./images/actions.js'); // not for the help
const REFERENCES = 'names of images, or the beginnings of their digests';

export function addImageCommand(program: Command, exit: Exit): void {
  const image = program
    .command('image')
    .description('list, fetch, check and remove images')
    .helpCommand(false)
    .addHelpText('after', '\nExample:\n  smartvm image ls');
  addListing(image, exit);
  addKeeping(image, exit);
  for (const command of image.commands) {
    command.showHelpAfterError(`See 'smartvm image ${command.name()} --help'.`);
  }
}

function addListing(image: Command, exit: Exit): void {
  image
    .command('ls')
    .description('list the images that are kept, with their sizes and who uses them')
    .option('--format <format>', FORMAT_HELP)
    .option('-q, --quiet', 'print the digests alone')
    .addHelpText('after', '\nExample:\n  smartvm image ls --format json')
    .action(async (options: ListOptions) => exit(await (await actions()).listImages(options)));
  image
    .command('inspect')
    .description('print all that is known of images: parts, kernel, what they were made of; as JSON')
    .argument('<image...>', REFERENCES)
    .addHelpText('after', '\nExample:\n  smartvm image inspect debian')
    .action(async (references: string[]) => exit(await (await actions()).inspectImages(references)));
  image
    .command('verify')
    .description('hash the parts of images; a part that is damaged is made again at its next use')
    .argument('[image...]', `${REFERENCES}; all where none is given`)
    .addHelpText('after', '\nExample:\n  smartvm image verify debian')
    .action(async (references: string[]) => exit(await (await actions()).verifyImages(references)));
}

function addKeeping(image: Command, exit: Exit): void {
  image
    .command('pull')
    .description('make or fetch images, anew where they are kept already')
    .argument('<reference...>', 'such as debian, debian:trixie or oci:docker.io/library/python:3.12')
    .option('-q, --quiet', 'say nothing of the progress')
    .addHelpText('after', '\nExample:\n  smartvm image pull debian:trixie')
    .action(async (references: string[], options: { quiet?: boolean }) =>
      exit(await (await actions()).pullImages(references, options)),
    );
  image
    .command('rm')
    .description('remove images that no VM and no layer uses')
    .argument('<image...>', REFERENCES)
    .addHelpText('after', '\nExample:\n  smartvm image rm debian:trixie')
    .action(async (references: string[]) => exit(await (await actions()).removeImages(references)));
  image
    .command('prune')
    .description('remove parts that no image has, and what builds and transfers have left whose programs were killed')
    .option('--dry-run', 'only say what would be removed')
    .addHelpText('after', '\nExample:\n  smartvm image prune --dry-run')
    .action(async (options: { dryRun?: boolean }) => exit(await (await actions()).pruneImages(options)));
}
