import type { ListedLayer } from '../../images/layers/kept.js';
import { SmartVM } from '../../smartvm.js';
import { reportError } from '../report.js';
import { EXIT_SOME_FAILED, forEach } from '../vms/each.js';
import { parseFormat, renderRows } from '../vms/format.js';
import { printLines } from '../vms/output.js';
import { SGR, styleOf } from '../vms/style.js';
import type { Column } from '../vms/table.js';
import { bytesInWords, durationInWords } from '../vms/words.js';

const MIB = 1024 * 1024;

type LayerRow = ReturnType<typeof layerRow>;

const COLUMNS: readonly Column<LayerRow>[] = [
  { title: 'NAME', text: ({ Name }) => Name },
  { title: 'KIND', text: ({ Kind }) => Kind },
  { title: 'IMAGE', text: ({ Image }) => Image },
  { title: 'CREATED', text: ({ CreatedSince }) => CreatedSince },
  { title: 'SIZE', text: ({ Size }) => Size, right: true },
  { title: 'DISK', text: ({ DiskUsage }) => DiskUsage, right: true },
  { title: 'USED BY', text: ({ UsedBy }) => UsedBy || '-', color: ({ UsedBy }) => (UsedBy ? SGR.green : undefined) },
];

function layerRow({ name, kind, image, createdAt, sizeMib, diskBytes, usedBy, path }: ListedLayer) {
  return {
    Name: name,
    Kind: kind,
    Image: image.name,
    ImageDigest: image.digest,
    CreatedAt: createdAt,
    CreatedSince: `${durationInWords(Date.now() - Date.parse(createdAt))} ago`,
    Size: bytesInWords(sizeMib * MIB),
    SizeBytes: sizeMib * MIB,
    DiskUsage: bytesInWords(diskBytes),
    DiskUsageBytes: diskBytes,
    UsedBy: usedBy ?? '',
    Path: path,
  };
}

export async function listLayers({ format, quiet }: { format?: string; quiet?: boolean }): Promise<number> {
  const parsed = parseFormat(format);
  const { layers, damaged } = await new SmartVM().layers.list();
  const style = styleOf(process.stdout);
  const lines = quiet ? layers.map(({ name }) => name) : renderRows(parsed, COLUMNS, layers.map(layerRow), style);
  const exitCode = await printLines(lines);
  damaged.forEach(reportError);
  return damaged.length > 0 ? EXIT_SOME_FAILED : exitCode;
}

export async function removeLayers(names: readonly string[]): Promise<number> {
  const { layers } = new SmartVM();
  return await forEach(names, async (name) => {
    await layers.remove(name);
    await printLines([name]);
  });
}
